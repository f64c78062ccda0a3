/**
 * The caller's side of `headwater/http`, for browsers and servers alike: typed by the application, without generated code.
 *
 * @module
 */

export { type Client, type ClientExecuteOptions, type ClientOptions, type ClientQueryOptions, client } from './client.ts'
export { ClientError } from './client-error.ts'
