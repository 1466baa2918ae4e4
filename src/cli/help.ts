/** The text of `--help`. */
export const help = `Usage: koa-user-sessions COMMAND [OPTIONS]

  roles check FILE   lists every problem in a roles file
  list USER          lists the live sessions of a user
  info ID            describes a session
  end ID             ends a session
  end-all USER       ends all sessions of a user

  --redis URL            the Redis with the sessions: redis://, rediss:// or the path of a socket
                         (default: the environment's REDIS_URL, else redis://127.0.0.1:6379)
  --cluster              the URL is that of a node of a Redis Cluster
  --prefix P             the prefix of their keys, as in the app's options (default: sess:)
  --refresh-seconds N    as in the app's options; times of activity depend on it (default: 60)
  --ignore-permissions   roles check: as in the app's options
  --json                 prints JSON
  --yes                  ends more than one session without asking
  --version, --help

All users of this machine can see arguments: put a URL with a password into REDIS_URL.

Exit codes: 0 done; 1 no such session, or the roles file has problems; 2 wrong usage, or a file that
cannot be read; 3 Redis cannot be reached, or fails; 4 a bug in this command.
`
