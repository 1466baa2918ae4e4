// Lets a program that says `listen(3000)` take a free port, which it then prints, and sends its
// connections to port 6379 to the Redis of REDIS_PORT. The program itself stays as it is.

import net from 'node:net'

const listen = Reflect.get(net.Server.prototype, 'listen')
net.Server.prototype.listen = function (port, ...rest) {
  if (port !== 3000) return listen.call(this, port, ...rest)
  this.once('listening', () => process.stdout.write(`http://127.0.0.1:${this.address().port}\n`))
  return listen.call(this, 0, '127.0.0.1', ...rest)
}

const connect = Reflect.get(net.Socket.prototype, 'connect')
net.Socket.prototype.connect = function (...args) {
  const [options] = Array.isArray(args[0]) ? args[0] : args
  if (typeof options === 'object' && options !== null && options.port === 6379) {
    options.port = Number(process.env.REDIS_PORT)
  }
  return connect.apply(this, args)
}
