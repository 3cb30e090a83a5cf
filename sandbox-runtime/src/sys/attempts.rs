//! Every call that the jail denies, made in a way that harms nobody where it is not denied.
//!
//! For `probe-inside`, which makes them inside the jail, and outside as the control: there
//! the kernel gets as far as to complain of the arguments.

use std::ffi::c_long;

use crate::policy;

/// One call. Only this table makes them; [`super::linux::attempt`] relies on what it says.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Name of the call, as in the list of denials.
    pub call: &'static str,
    /// Which of several attempts at this call; empty where there is one.
    pub variant: &'static str,
    arguments: [i64; 6],
}

impl Attempt {
    /// `None` if the list of denials no longer knows the call.
    pub(super) fn number(&self) -> Option<c_long> {
        policy::number(self.call).map(c_long::from)
    }

    pub(super) const fn arguments(&self) -> [i64; 6] {
        self.arguments
    }
}

/// No address, no size, no descriptor.
const NULL: i64 = 0;
/// No descriptor, no process, and every flag, known or not.
const NONE: i64 = -1;
/// An address that nobody can map.
const NOWHERE: i64 = 1;
/// A thread that nobody has: beyond the kernel's most (`PID_MAX_LIMIT`).
const NOBODY: i64 = 1 << 23;
/// Without `CLONE_SIGHAND` this makes any `clone` fail (`clone(2)`).
const CLONE_THREAD: i64 = 0x0001_0000;

macro_rules! attempts {
    ($($name:ident $(($variant:literal))? => [$($argument:expr),*],)*) => {
        /// All of them. Missing arguments are zero.
        pub const ATTEMPTS: &[Attempt] = &[$(
            Attempt {
                call: stringify!($name),
                variant: concat!($($variant)?),
                arguments: padded(&[$($argument),*]),
            },
        )*];
    };
}

const fn padded(given: &[i64]) -> [i64; 6] {
    let mut all = [0; 6];
    let mut index = 0;
    while index < given.len() {
        all[index] = given[index];
        index += 1;
    }
    all
}

attempts! {
    mount => [NULL, NULL, NULL, 0, NULL],
    umount2 => [NULL, 0],
    pivot_root => [NULL, NULL],
    chroot => [NULL],
    move_mount => [NONE, NULL, NONE, NULL, NONE],
    open_tree => [NONE, NULL, 0],
    fsopen => [NULL, 0],
    fsconfig => [NONE],
    fsmount => [NONE],
    fspick => [NONE, NULL, 0],
    mount_setattr => [NONE, NULL, 0, NULL, 0],
    unshare => [0],
    setns => [NONE, 0],
    clone("NEWNS") => [0x0002_0000 | CLONE_THREAD],
    clone("NEWCGROUP") => [0x0200_0000 | CLONE_THREAD],
    clone("NEWUTS") => [0x0400_0000 | CLONE_THREAD],
    clone("NEWIPC") => [0x0800_0000 | CLONE_THREAD],
    clone("NEWUSER") => [0x1000_0000 | CLONE_THREAD],
    clone("NEWPID") => [0x2000_0000 | CLONE_THREAD],
    clone("NEWNET") => [0x4000_0000 | CLONE_THREAD],
    clone3 => [NULL, 0],
    ptrace => [2, NONE, NULL, NULL],
    process_vm_readv => [NONE, NULL, 0, NULL, 0, 0],
    process_vm_writev => [NONE, NULL, 0, NULL, 0, 0],
    process_madvise => [NONE, NULL, 0, 0, 0],
    pidfd_getfd => [NONE, NONE, 0],
    kcmp => [NONE, NONE, 0, 0, 0],
    prlimit64 => [1, 0, NULL, NULL],
    sched_setaffinity("of process 1") => [1, 8, NULL],
    sched_setaffinity("of a thread") => [NOBODY, 8, NULL],
    sched_setattr => [NOBODY, NULL, 0],
    sched_setparam => [NOBODY, NULL],
    sched_setscheduler => [NOBODY, 0, NULL],
    setpriority("of a group") => [3, 0, 0],
    setpriority("of process 1") => [0, 1, 0],
    setpriority("of a thread") => [0, NOBODY, 0],
    ioprio_set("of a group") => [9, 0, 0],
    ioprio_set("of process 1") => [1, 1, NONE],
    ioprio_set("of a thread") => [1, NOBODY, NONE],
    kill("of process 1") => [1, 0],
    tkill("of process 1") => [1, 0],
    tkill("to stop") => [NONE, 19],
    tgkill("of process 1") => [1, 1, 0],
    rt_sigqueueinfo("of process 1") => [1, 0, NULL],
    rt_sigqueueinfo("to stop") => [NOBODY, 19, NULL],
    kill("to stop") => [NOBODY, 19],
    rt_tgsigqueueinfo("of process 1") => [1, 1, 0, NULL],
    pidfd_open("of process 1") => [1, NONE],
    fcntl("F_SETSIG") => [NONE, 10, 0],
    migrate_pages => [NONE, 0, NULL, NULL],
    move_pages => [NONE, 0, NULL, NULL, NULL, 0],
    add_key => [NULL, NULL, NULL, 0, 0],
    request_key => [NULL, NULL, NULL, 0],
    keyctl => [NONE],
    bpf => [NONE, NULL, 0],
    perf_event_open => [NULL, 0, 0, NONE, NONE],
    userfaultfd => [NONE],
    io_uring_setup => [0, NULL],
    io_uring_enter => [NONE, 0, 0, NONE, NULL, 0],
    io_uring_register => [NONE, NONE, NULL, 0],
    kexec_load => [0, 0, NULL, NONE],
    kexec_file_load => [NONE, NONE, 0, NULL, NONE],
    reboot => [0, 0, 0, NULL],
    init_module => [NULL, 0, NULL],
    finit_module => [NONE, NULL, NONE],
    delete_module => [NULL, 0],
    clock_settime => [0, NULL],
    clock_adjtime => [0, NULL],
    settimeofday => [NULL, NULL],
    adjtimex => [NULL],
    swapon => [NULL, NONE],
    swapoff => [NULL],
    quotactl => [NONE, NULL, 0, NULL],
    quotactl_fd => [NONE, NONE, 0, NULL],
    acct => [NOWHERE],
    open_by_handle_at => [NONE, NULL, 0],
    fanotify_init => [NONE, NONE],
    fanotify_mark => [NONE, 0, 0, NONE, NULL],
    syslog => [NONE, NULL, 0],
    iopl => [4],
    ioperm => [NONE, 1, 1],
    modify_ldt => [NONE, NULL, 0],
    uselib => [NULL],
    personality => [0x0004_0000],
    socket("netlink") => [16, 3, 0],
    socket("packet") => [17, 3, 0],
    socket("vsock") => [40, 1, 0],
    socket("alg") => [38, 5, 0],
    socketpair => [16, NONE, 0, NULL],
    ioctl("TIOCSTI") => [NONE, 0x5412, NULL],
    ioctl("TIOCSTI, a bit above") => [NONE, 0x5412 | 1 << 32, NULL],
    ioctl("TIOCLINUX") => [NONE, 0x541c, NULL],
    ioctl("TIOCSETD") => [NONE, 0x5423, NULL],
}
