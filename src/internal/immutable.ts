type Leaf = ((...args: never[]) => unknown) | Date | bigint | string | number | boolean | null | undefined

/** Deeply readonly: what pure functions are given, so that they cannot change it. */
export type Immutable<T> = T extends Leaf ? T : { readonly [K in keyof T]: Immutable<T[K]> }

/** What a value looks like after JSON: what a client over HTTP gets. */
export type Json<T> = T extends Date ? string : T extends Leaf ? T : { [K in keyof T]: Json<T[K]> }
