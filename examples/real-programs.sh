#!/usr/bin/env bash
# nginx, redis-server, python3 http.server and stress-ng under one daemon: loaded, one killed and
# restarted by policy, all stopped. Prints the transcript of docs/real-programs.md.
# Needs those programs, curl and redis-tools (Debian packages nginx-light redis-server python3
# stress-ng curl redis-tools), and `ostler` in PATH.
set -euo pipefail
work=$(mktemp -d)
trap 'kill "$daemon" 2> /dev/null || :; rm -rf "$work"' EXIT
export OSTLER_SOCKET=$work/socket

# say COMMAND...: shows a command and what it prints.
say() { printf '\n$ %s\n' "$*"; "$@" 2>&1 | sed "s#$work#WORK#g" || :; }
# until COMMAND...: waits for what becomes true soon.
until_true() { for _ in $(seq 100); do "$@" > /dev/null 2>&1 && return; sleep 0.1; done; echo "never: $*"; exit 1; }

chmod 755 "$work" # nginx serves as another user
mkdir -p "$work/www" "$work/redis"
echo 'hello from ostler' > "$work/www/index.html"
cat > "$work/nginx.conf" << CONF
daemon off; pid $work/nginx.pid; error_log stderr; worker_processes 2;
events {}
http {
  access_log off;
  client_body_temp_path $work/body; proxy_temp_path $work/proxy; fastcgi_temp_path $work/fastcgi;
  uwsgi_temp_path $work/uwsgi; scgi_temp_path $work/scgi;
  server { listen 127.0.0.1:18080; root $work/www; }
}
CONF
cat > "$work/node.toml" << TOML
[defaults]
env = { PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" }
kill_signal = "TERM"

[task.nginx]
command = "nginx"
args = ["-c", "$work/nginx.conf", "-e", "stderr"]
stderr = "file:$work/nginx.log,max_size=1M,max_files=3"
restart = { mode = "on_failure", delay = "200ms" }

[task.redis]
command = "redis-server"
args = ["--port", "16379", "--dir", "$work/redis", "--save", ""]
stdout = "file:$work/redis.log"

[task.python]
command = "python3"
args = ["-u", "-m", "http.server", "18081", "--bind", "127.0.0.1", "--directory", "$work/www"]
stdout = "file:$work/python.log,max_size=64K,max_files=4"
stderr = "stdout"
restart = { mode = "always", delay = "100ms" }

[task.stress]
command = "stress-ng"
args = ["--cpu", "1", "--vm", "1", "--vm-bytes", "32M", "--fork", "1", "--timeout", "600s"]
stop_all = true
TOML

ostler daemon --tasks "$work/node.toml" 2> "$work/daemon.log" & daemon=$!
until_true curl -s http://127.0.0.1:18080/
until_true curl -s http://127.0.0.1:18081/
until_true redis-cli -p 16379 ping
say ostler ps
say curl -s http://127.0.0.1:18080/
load() {
  redis-benchmark -p 16379 -q -n 20000 -t set,get | tr '\r' '\n' | grep 'per second'
  for port in 18080 18081; do
    seq 200 | xargs -P 4 -I{} curl -s -o /dev/null -w '%{http_code}\n' "http://127.0.0.1:$port/?{}" |
      sort | uniq -c | sed "s/^ */port $port: /"
  done
}
say load
say ostler logs -n 2 python
printf '\n# kill -9 of the nginx master: its workers die with it, the policy starts it again\n'
before=$(ostler inspect nginx --json | sed 's/.*"pid":\([0-9]*\).*/\1/')
say kill -9 "$before"
until_true curl -s http://127.0.0.1:18080/
say ostler ps
say curl -s http://127.0.0.1:18080/
printf '\n# every process of stress-ng is gone after its stop, whatever it has forked\n'
say ostler stop stress --json
say pgrep -c -f 'stress-ng --cpu 1 --vm 1 --vm-bytes 32M'
say ostler stop nginx redis python
say ostler ps --all
say grep -c . "$work/daemon.log"
say ostler shutdown
wait "$daemon"
printf '\n# the log of the daemon\n'
sed "s#$work#WORK#g" "$work/daemon.log"
