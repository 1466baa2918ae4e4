import 'koa'

declare module 'koa' {
  interface ExtendableContext {
    login(user: object, options?: { keepSessionInfo?: boolean }): Promise<void>
    logout(options?: { keepSessionInfo?: boolean }): Promise<void>
    isAuthenticated(): boolean
  }
}
