//! What `--help` prints.

pub const HELP: &str = "\
Cloister's binary inside a pod.

Usage: cloister-sandbox <COMMAND> [OPTIONS]

Commands:
  serve    Be process 1 of a sandbox pod: prove it, be given one run, run it, report
  work     Be process 1 of a Worker's pod: prove it, run the command, prove it on a clock
  ready    Say whether the Worker of this container is ready
  run      Run one command in its jail, as process 1 of a container, and report
  probe    Look at the network and at this process from inside, once, and report
  install  Copy this program to where a sandbox finds it
  canary   Answer every connection with a line that a probe recognizes

Options:
  -h, --help       Print help (also after a command)
  -V, --version    Print the version

Exit codes:
  0  done: a report was written, whatever it says; or canary or sandbox were asked to stop; or the
     Worker is ready
  1  failed: no report was written; or the canary could not listen, the sandbox not wait; or the
     Worker is not ready
  2  wrong arguments or a wrong request; of `run`, too, if the report says that nothing ran
  For those of `serve` and `work` see their help.
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
                   {\"version\":2,\"dispatch\":\"cloister-dispatch.cloister-system.svc:7443\",
                    \"authorities\":\"-----BEGIN CERTIFICATE-----...\",\"token\":\"/run/cloister/token\",
                    \"probe\":{\"version\":2,\"timeoutMs\":1000,\"targets\":[],\"places\":[]},
                    \"probeIntervalMs\":30000,\"processes\":512}
                   The operator's certificate has to be of one of the authorities, and for the
                   host of `dispatch`. The interval is 1000 to 600000 ms. `processes` holds
                   this process and the run to so many processes and threads. `fenceMs`,
                   if given, ends a run without the operator after so long, with 125.
  -h, --help       Print help
";

pub const WORK_HELP: &str = "\
Be process 1 of a Worker's pod, from its start to its end. Talks to nobody.

Looks as `probe` does and judges what it saw. Once everything is as it must be, runs the command
in its jail as `run` does, and looks again on a clock while it runs. A fault makes it not ready at
once, and ends the command if a look some seconds later finds one again; a look that cannot tell
ends nothing, but a proof is good for its time only. SIGTERM and SIGINT from outside the container
are passed on, and whoever is left after the grace is killed. The termination message says why it
is over: of a broken proof, `check target: expected x, saw y`.

Usage: cloister-sandbox work --config <JSON> [--message <FILE>]

Options:
  --config <JSON>   What to look at, and what to run:
                    {\"version\":1,
                     \"probe\":{\"version\":2,\"timeoutMs\":1000,\"targets\":[],\"places\":[]},
                     \"wanted\":{\"runtime\":\"Host\",\"userNamespace\":true,\"memory\":268435456,
                               \"processes\":512},
                     \"run\":{...},\"probeIntervalMs\":30000,\"proofLimitMs\":90000,
                     \"settleMs\":10000}
                    `run` is what `run --contract` takes, without input, result and limit of time
                    (null). The interval is 1000 to 600000 ms, a proof is good for twice that to
                    3600000 ms. For settleMs, 0 to 120000, an open network may be a late policy.
                    Canary and decoy may be name:port of a headless Service, resolved each time.
  --message <FILE>  Where it goes [default: /dev/termination-log]
  -h, --help        Print help

Exit codes:
  0 to 255  the command's own, where it ended by itself or was asked to; 128 and the signal's
            number, where a signal ended it
  1         this process failed
  2         the configuration is wrong, or the jail is not to be had here: nothing ran
  124       the proof is broken: nothing ran, or what ran was ended
";

pub const READY_HELP: &str = "\
Say whether the Worker of this container is ready: its command runs, and the last proof is good.
One line says why, or why not. For the kubelet, as an exec probe in the same container.

Usage: cloister-sandbox ready

Options:
  -h, --help  Print help
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
