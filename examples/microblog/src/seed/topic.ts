/** Something people write about. In the templates `{name}` stands for one of the slot's words and `{a|b}` for one of the two. */
export interface Topic {
  readonly tag: string
  readonly posts: readonly string[]
  /** What may follow a post. */
  readonly tails: readonly string[]
  readonly replies: readonly string[]
  readonly slots: Readonly<Record<string, readonly string[]>>
}
