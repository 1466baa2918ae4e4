/** What `--help` prints. */
export const help = `Usage: koa-user-sessions COMMAND [OPTIONS]

  roles check FILE   tells every problem of a roles file
  list USER          lists the live sessions of a user
  info ID            tells what is known of a session
  end ID             ends a session
  end-all USER       ends all sessions of a user

  --redis URL            where the sessions are: redis://, rediss:// or the path of a socket
                         (default: the environment's REDIS_URL, else redis://127.0.0.1:6379)
  --cluster              it is a node of a Redis Cluster
  --prefix P             what their keys start with, as the app's option (default: sess:)
  --refresh-seconds N    as the app's option; what is told of activity depends on it (default: 60)
  --ignore-permissions   roles check: as the app's option
  --json                 answers in JSON
  --yes                  ends more than one session without asking
  --version, --help

Arguments are visible to everybody on this machine: put a URL with a password into REDIS_URL.

Exit codes: 0 done; 1 no such session, or the roles file has problems; 2 wrong use, or a file that
cannot be read; 3 Redis cannot be reached, or fails; 4 a fault of this command.
`
