//! What `--help` prints.

pub const HELP: &str = "\
Cloister's binary inside a pod.

Usage: cloister-sandbox <COMMAND> [OPTIONS]

Commands:
  serve    Be process 1 of a sandbox pod: prove it, be given one run, run it, report
  run      Run one command in its jail, as process 1 of a container, and report
  probe    Look at the network and at this process from inside, once, and report
  install  Copy this program to where a sandbox finds it
  canary   Answer every connection with a line that a probe recognizes

Options:
  -h, --help       Print help (also after a command)
  -V, --version    Print the version

Exit codes:
  0  done: a report was written, whatever it says; or canary or sandbox were asked to stop
  1  failed: no report was written; or the canary could not listen, the sandbox not wait
  2  wrong arguments or a wrong request; of `run`, too, if the report says that nothing ran
";

pub const SERVE_HELP: &str = "\
Be process 1 of a sandbox pod, from its start to its end.

Dials the operator, again for as long as it takes, and proves to it what the sandbox is: by
what `probe` looks at, on a clock. Runs what the operator gives, once and as `run` does, and
says when it has started and how it ended. SIGTERM and SIGINT from outside the container
cancel the run; without one they end this process, with 0.

Usage: cloister-sandbox serve --config <JSON>

Options:
  --config <JSON>  Whom to dial and what to look at:
                   {\"version\":2,\"dispatch\":\"cloister-dispatch.cloister-system.svc:8443\",
                    \"authorities\":\"-----BEGIN CERTIFICATE-----...\",\"token\":\"/run/cloister/token\",
                    \"probe\":{\"version\":2,\"timeoutMs\":1000,\"targets\":[],\"places\":[]},
                    \"probeIntervalMs\":30000,\"processes\":512}
                   The operator's certificate has to be of one of the authorities, and for the
                   host of `dispatch`. The interval is 1000 to 600000 ms. `processes` holds
                   this process and the run to so many processes and threads.
  -h, --help       Print help
";

pub const RUN_HELP: &str = "\
Run one command in its jail, as process 1 of a container, and report how it ended.

The command's stdout and stderr are passed on. SIGTERM and SIGINT from outside the
container cancel the run. When it is over, the report, JSON, replaces the content of the
report file.

Usage: cloister-sandbox run --contract <FILE> --report <FILE>

Options:
  --contract <FILE>  What to run, JSON, at most 1 MiB; `-` is stdin
  --report <FILE>    Where the report goes, at most 28672 bytes
  -h, --help         Print help
";

pub const PROBE_HELP: &str = "\
Look at the network and at this process from inside, once, and report.

Every target is dialled at the same time, each for the request's timeout. The report,
JSON of at most 4096 bytes, replaces the content of the report file; stdout gets one line
per check. Nothing is judged here.

Usage: cloister-sandbox probe --request <JSON> [--report <FILE>]

Options:
  --request <JSON>  What to look at:
                    {\"version\":2,\"timeoutMs\":1000,\"targets\":[
                      {\"check\":\"Kubelet\",\"address\":\"10.0.0.1:10250\",\"expect\":\"Blocked\"}],
                     \"places\":[{\"path\":\"/work\",\"writable\":true}]}
                    Timeout 1 to 10000 ms, at most 64 targets, and no more than a report holds.
                    Addresses are ip:port, the ip in brackets if it is IPv6;
                    for the check Dns, a name. Places are what is mounted for this pod beyond
                    what every pod has, at most 16.
  --report <FILE>   Where the report goes [default: /dev/termination-log]
  -h, --help        Print help
";

pub const INSTALL_HELP: &str = "\
Copy this program to a file that everybody may run and nobody may change, for a sandbox that has
it from an init container. The file must not be there yet.

Usage: cloister-sandbox install <FILE>

Options:
  -h, --help  Print help
";

pub const CANARY_HELP: &str = "\
Answer every connection with the line `cloister-canary <ROLE>` and close it, until SIGTERM.

Usage: cloister-sandbox canary --listen <IP:PORT> [--listen <IP:PORT>]... --role <ROLE>

Options:
  --listen <IP:PORT>  Where to listen, at most 8 times. 0.0.0.0 and [::] both mean every
                      address of every family that the kernel has.
  --role <ROLE>       What to say: 1 to 63 of a-z, 0-9 and `-`
  -h, --help          Print help
";
