//! The kernel itself. The only `unsafe` of this crate: what neither the standard library nor
//! `rustix` can say.
#![expect(unsafe_code, reason = "vfork, seccomp, Landlock's last call, signalfd")]

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::ptr;
use std::time::{Duration, Instant};

use contract::run::Usage;
use rustix::fs::{Access, MemfdFlags, Mode, SealFlags, access, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::process::{self, DumpableBehavior, Pid, Rlimit, WaitOptions};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::attempts::Attempt;
use super::bell::Bell;
use super::files::{self, FilesError};
use super::program::{Program, SHELL};
use super::{Launch, LaunchError, News, Seal, Sys, memory, signals};
use crate::policy::Instruction;
use crate::step::FileRules;

/// `LANDLOCK_CREATE_RULESET_VERSION` of `linux/landlock.h`.
const ASK_VERSION: libc::c_uint = 1;
/// `_NSIG` of `asm/signal.h`: signals are 1 to this.
const KERNEL_SIGNALS: libc::c_int = 64;
/// Bytes of stack for the few calls between a new process and its program.
const STACK: usize = 64 * 1024;

/// The kernel's Landlock ABI; 0 where there is none.
pub fn landlock_abi() -> u8 {
    // SAFETY: without attributes and with this flag the call only answers a number.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::null::<u8>(),
            0_usize,
            ASK_VERSION,
        )
    };
    files::known_abi(answer)
}

/// Whether a filter would be taken: one without an address is refused for the address, and
/// only by a kernel that knows filters (`prctl(2)`, `PR_SET_SECCOMP`).
pub fn has_seccomp_filter() -> bool {
    // SAFETY: a null pointer is never read; the kernel says EFAULT.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            ptr::null::<u8>(),
        )
    };
    answer == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

/// This process, and the kernel below it.
#[derive(Debug)]
pub struct Linux {
    signals: OwnedFd,
    pub(super) cancel: Bell,
    asked: Cell<bool>,
    pub(super) start: Instant,
}

impl Linux {
    /// From here on SIGCHLD, SIGTERM and SIGINT are held back and come out of
    /// [`Processes::news`], as do, for nothing, the signals by which gVisor would let a command stop this
    /// process. To be called before any thread is started, for threads inherit it.
    pub fn new() -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `sigemptyset` initializes the set that the other calls only read; signalfd
        // gives a descriptor that nobody else owns.
        let signals = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            let stops = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
            for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT]
                .into_iter()
                .chain(stops)
            {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            check(libc::sigprocmask(
                libc::SIG_BLOCK,
                set.as_ptr(),
                ptr::null_mut(),
            ))?;
            let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
            let number = libc::signalfd(-1, set.as_ptr(), flags);
            check(number)?;
            OwnedFd::from_raw_fd(number)
        };
        Ok(Self {
            signals,
            cancel: Bell::new()?,
            asked: Cell::new(false),
            start: Instant::now(),
        })
    }

    /// Who rings it cancels the run, as a SIGTERM from outside does.
    pub fn canceler(&self) -> Bell {
        self.cancel.clone()
    }

    /// Whether anybody outside the container has asked for the end so far.
    pub fn was_asked(&self) -> bool {
        self.asked.get()
    }

    /// Waits, at most so long, until a signal comes or the bell rings, which is not heard here.
    pub fn wait(&self, bell: &Bell, most: Option<Duration>) -> io::Result<Vec<News>> {
        let news = signals::wait(&self.signals, bell, most)?;
        let asked = news.iter().any(|news| matches!(news, News::Asked(_)));
        self.asked.set(asked || self.asked.get());
        Ok(news)
    }
}

impl Sys for Linux {
    fn hide_memory(&self) -> io::Result<()> {
        Ok(process::set_dumpable_behavior(
            DumpableBehavior::NotDumpable,
        )?)
    }

    fn create(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o400)
            .open(path)?;
        file.write_all(content)
    }

    fn is_executable(&self, path: &Path) -> bool {
        path.is_file() && access(path, Access::EXEC_OK).is_ok()
    }

    fn is_directory(&self, path: &Path) -> bool {
        path.is_dir() && access(path, Access::EXEC_OK).is_ok()
    }

    /// A file in memory that nobody changes any more. Not a pipe: where this user has many,
    /// which may be in other pods, a new one takes less than an input (`pipe(7)`).
    fn readable(&self, content: &[u8]) -> io::Result<OwnedFd> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = File::from(memfd_create("input", flags)?);
        file.write_all(content)?;
        file.rewind()?;
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        fcntl_add_seals(&file, seals)?;
        Ok(file.into())
    }

    fn ruleset(&self, rules: &FileRules) -> Result<OwnedFd, FilesError> {
        files::ruleset(rules)
    }

    /// Not by `fork(2)`, which copies what this process has mapped, for `execve(2)` to throw it away:
    /// on gVisor the half of a start. The child shares the memory, and this thread waits, until there
    /// is a program or an end (`vfork(2)`).
    fn launch(&self, launch: Launch) -> Result<u32, LaunchError> {
        let program = Program::of(&launch)
            .map_err(|error| LaunchError::Execute(launch.program.clone(), error.into()))?;
        let mut child = Child {
            launch: &launch,
            program,
            failed: None,
        };
        let mut stack = Box::<[u128]>::new_uninit_slice(STACK / size_of::<u128>());
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: the stack is aligned, grows down from its end, and both it and `child` outlive the
        // child's use of this memory, because `CLONE_VFORK` holds this thread up for so long. No
        // signal handler runs on it: this process has none but the one that reports its own faults.
        let number = unsafe {
            let top = stack.as_mut_ptr_range().end;
            libc::clone(become_command, top.cast(), flags, (&raw mut child).cast())
        };
        let number = check(number)
            .map(|()| number.unsigned_abs())
            .map_err(LaunchError::Fork)?;
        let Some((place, errno)) = child.failed else {
            return Ok(number);
        };
        // It has ended, and is nobody's command.
        let _ = process::waitpid(Pid::from_raw(number.cast_signed()), WaitOptions::empty());
        let error = io::Error::from(errno);
        Err(match place {
            Some(index) => LaunchError::Seal(index, error),
            None => LaunchError::Execute(launch.program, error),
        })
    }

    fn usage(&self) -> Usage {
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: the kernel fills the whole struct; where it does not, it is zero, which is
        // valid for its integers.
        let usage = unsafe {
            libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
            usage.assume_init()
        };
        Usage {
            user_ms: milliseconds(usage.ru_utime),
            system_ms: milliseconds(usage.ru_stime),
            max_resident_kib: usage.ru_maxrss.unsigned_abs(),
        }
    }

    fn oom_kills(&self) -> Option<u64> {
        memory::oom_kills()
    }
}

/// A child until it is the program, and what kept it from that.
struct Child<'a> {
    launch: &'a Launch,
    program: Program,
    /// The place of a seal, if it was one, and why.
    failed: Option<(Option<usize>, Errno)>,
}

impl Child<'_> {
    /// Returns only if it fails. System calls only, on memory that was prepared before: nothing is
    /// allocated, no lock is taken.
    fn become_command(&self) -> (Option<usize>, Errno) {
        let (launch, program) = (self.launch, &self.program);
        let streams = [&launch.stdin, &launch.stdout, &launch.stderr];
        // SAFETY: takes integers, and a string that lives.
        let begun = unsafe {
            streams
                .into_iter()
                .zip(0..)
                .try_for_each(|(from, to)| check(libc::dup2(from.as_raw_fd(), to)))
                .and_then(|()| check(libc::chdir(program.directory.as_ptr())))
        };
        if let Err(error) = begun {
            return (None, errno_of(&error));
        }
        for (index, seal) in launch.seals.iter().enumerate() {
            if let Err(error) = put_on(seal) {
                return (Some(index), errno_of(&error));
            }
        }
        let environment = program.environment.as_ptr();
        // SAFETY: strings that live, and lists of them that end with a null pointer.
        let refused = unsafe {
            libc::execve(
                program.path.as_ptr(),
                program.arguments.as_ptr(),
                environment,
            );
            io::Error::last_os_error()
        };
        if refused.raw_os_error() == Some(libc::ENOEXEC) {
            // SAFETY: as above.
            unsafe { libc::execve(SHELL.as_ptr(), program.script.as_ptr(), environment) };
        }
        (None, errno_of(&refused))
    }
}

/// The child's whole life in this memory.
extern "C" fn become_command(child: *mut libc::c_void) -> libc::c_int {
    // SAFETY: it is the `Child` of `launch`, which waits and does not touch it.
    let child = unsafe { &mut *child.cast::<Child<'_>>() };
    child.failed = Some(child.become_command());
    libc::EXIT_FAILURE
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// System calls only; see [`Seal`].
fn put_on(seal: &Seal) -> io::Result<()> {
    match seal {
        Seal::NewSession => process::setsid().map(drop)?,
        Seal::DefaultSignals => default_signals()?,
        Seal::Umask(mask) => drop(process::umask(Mode::from_raw_mode(*mask))),
        Seal::Limit(resource, most) => {
            let limit = Rlimit {
                current: Some(*most),
                maximum: Some(*most),
            };
            process::setrlimit(resource.kernels(), limit)?;
        }
        Seal::CloseDescriptors => close_at_exec()?,
        Seal::DropCapabilities => {
            let none = CapabilitySet::empty();
            let sets = CapabilitySets {
                effective: none,
                permitted: none,
                inheritable: none,
            };
            rustix::thread::set_capabilities(None, sets)?;
        }
        Seal::NoNewPrivileges => rustix::thread::set_no_new_privs(true)?,
        Seal::Files(ruleset) => restrict_files(ruleset)?,
        Seal::Calls(program) => filter_calls(program)?,
    }
    Ok(())
}

/// What the supervisor, or whoever started it, ignored or held back is not inherited. Not by
/// `signal(3)`, which leaves out the two that the C library keeps for itself.
fn default_signals() -> io::Result<()> {
    // The kernel's `struct sigaction`: handler (0 is the default), flags, restorer, mask.
    let default = [0_u64; 4];
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the kernel reads 32 bytes, which are there; setting the default installs no
    // handler. `sigemptyset` initializes the set.
    unsafe {
        for signal in 1..=KERNEL_SIGNALS {
            // SIGKILL and SIGSTOP are refused: theirs is the default anyway.
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                ptr::null::<u64>(),
                size_of::<u64>(),
            );
        }
        libc::sigemptyset(none.as_mut_ptr());
        check(libc::sigprocmask(
            libc::SIG_SETMASK,
            none.as_ptr(),
            ptr::null_mut(),
        ))
    }
}

fn close_at_exec() -> io::Result<()> {
    let at_exec = libc::CLOSE_RANGE_CLOEXEC.cast_signed();
    // SAFETY: descriptors are marked, none is closed here.
    check(unsafe { libc::close_range(3, libc::c_uint::MAX, at_exec) })
}

fn restrict_files(ruleset: &OwnedFd) -> io::Result<()> {
    let call = libc::SYS_landlock_restrict_self;
    // SAFETY: takes two integers, and lessens the rights of this thread, the only one.
    let answer = unsafe { libc::syscall(call, ruleset.as_raw_fd(), 0_u32) };
    check_long(answer)
}

fn filter_calls(program: &[Instruction]) -> io::Result<()> {
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::INVAL)?,
        // `Instruction` is laid out as `sock_filter`, which a test compares.
        filter: program.as_ptr().cast_mut().cast(),
    };
    let call = libc::SYS_seccomp;
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the kernel copies `len` instructions from an array that lives through the call.
    let answer = unsafe { libc::syscall(call, mode, 0, ptr::from_ref(&filter)) };
    check_long(answer)
}

/// Makes one of the calls that the jail denies; `None` where nobody objects.
pub fn attempt(attempt: &Attempt) -> Option<Errno> {
    let number = attempt.number()?;
    let [first, second, third, fourth, fifth, sixth] = attempt.arguments();
    // SAFETY: only the table in `attempts` makes one, each with null pointers, sizes of zero,
    // descriptors that are not open or flags that exclude each other, so that the kernel
    // touches no memory of this process and makes no second one.
    let answer = unsafe { libc::syscall(number, first, second, third, fourth, fifth, sixth) };
    (answer == -1).then(|| errno_of(&io::Error::last_os_error()))
}

fn milliseconds(time: libc::timeval) -> u64 {
    time.tv_sec.unsigned_abs() * 1000 + time.tv_usec.unsigned_abs() / 1000
}

fn check(answer: libc::c_int) -> io::Result<()> {
    check_long(answer.into())
}

fn check_long(answer: libc::c_long) -> io::Result<()> {
    if answer == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::mem::{align_of, offset_of};

    use super::*;
    use crate::sys::{Processes as _, Signal};

    #[test]
    fn an_instruction_is_laid_out_as_the_kernels() {
        assert_eq!(size_of::<Instruction>(), size_of::<libc::sock_filter>());
        assert_eq!(align_of::<Instruction>(), align_of::<libc::sock_filter>());
        assert_eq!(
            [
                offset_of!(Instruction, jump_true),
                offset_of!(Instruction, jump_false),
                offset_of!(Instruction, operand),
            ],
            [
                offset_of!(libc::sock_filter, jt),
                offset_of!(libc::sock_filter, jf),
                offset_of!(libc::sock_filter, k),
            ]
        );
    }

    fn null() -> OwnedFd {
        let device = OpenOptions::new().read(true).write(true).open("/dev/null");
        device.unwrap().into()
    }

    fn launch(program: &str, seals: Vec<Seal>) -> Result<u32, LaunchError> {
        Linux::new().unwrap().launch(Launch {
            program: program.into(),
            arguments: vec![program.into()],
            environment: vec![],
            directory: "/".into(),
            stdin: null(),
            stdout: null(),
            stderr: null(),
            seals,
        })
    }

    #[test]
    fn a_seal_that_fails_is_named_and_nothing_is_executed() {
        // The null device is no ruleset.
        let seals = vec![Seal::NewSession, Seal::NoNewPrivileges, Seal::Files(null())];
        let refused = launch("/bin/true", seals);
        assert!(
            matches!(refused, Err(LaunchError::Seal(2, _))),
            "{refused:?}"
        );
        let started = launch("/bin/true", vec![Seal::NewSession, Seal::NoNewPrivileges]);
        assert!(started.is_ok(), "control: {started:?}");
    }

    #[test]
    fn a_program_that_is_none_is_no_failed_seal() {
        let refused = launch("/nowhere", vec![Seal::NewSession]);
        assert!(
            matches!(refused, Err(LaunchError::Execute(..))),
            "{refused:?}"
        );
    }

    #[test]
    fn a_script_that_names_no_interpreter_is_the_shells() {
        use std::os::unix::fs::PermissionsExt as _;

        let path = std::env::temp_dir().join(format!("cloister-script-{}", std::process::id()));
        std::fs::write(&path, "exit 7\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let number = launch(path.to_str().unwrap(), vec![Seal::NewSession]).unwrap();
        let child = Pid::from_raw(number.cast_signed());
        let (_, status) = process::waitpid(child, WaitOptions::empty())
            .unwrap()
            .unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(status.exit_status(), Some(7));
    }

    #[test]
    fn only_process_1_signals_everyone() {
        assert_ne!(std::process::id(), 1);
        let linux = Linux::new().unwrap();
        assert!(linux.signal_everyone(Signal::Kill).is_err());
    }
}
