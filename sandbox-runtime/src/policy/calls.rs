//! Names of system calls → their numbers on this processor, for the names in the list.

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the numbers and the filter's architecture check are written for x86_64 alone");

macro_rules! numbers {
    ($($name:literal => $number:expr,)*) => {
        /// Every name that the list may use; a test finds those that it no longer does.
        #[cfg(test)]
        pub const NAMES: &[&str] = &[$($name),*];

        /// The number of a call; `None` for a name that is not known here.
        pub fn number(name: &str) -> Option<u32> {
            let number = match name {
                $($name => $number,)*
                _ => return None,
            };
            u32::try_from(number).ok()
        }
    };
}

numbers! {
    "acct" => libc::SYS_acct,
    "add_key" => libc::SYS_add_key,
    "adjtimex" => libc::SYS_adjtimex,
    "bpf" => libc::SYS_bpf,
    "chroot" => libc::SYS_chroot,
    "clock_adjtime" => libc::SYS_clock_adjtime,
    "clock_settime" => libc::SYS_clock_settime,
    "clone" => libc::SYS_clone,
    "clone3" => libc::SYS_clone3,
    "delete_module" => libc::SYS_delete_module,
    "fanotify_init" => libc::SYS_fanotify_init,
    "fanotify_mark" => libc::SYS_fanotify_mark,
    "fcntl" => libc::SYS_fcntl,
    "finit_module" => libc::SYS_finit_module,
    "fsconfig" => libc::SYS_fsconfig,
    "fsmount" => libc::SYS_fsmount,
    "fsopen" => libc::SYS_fsopen,
    "fspick" => libc::SYS_fspick,
    "init_module" => libc::SYS_init_module,
    "io_uring_enter" => libc::SYS_io_uring_enter,
    "io_uring_register" => libc::SYS_io_uring_register,
    "io_uring_setup" => libc::SYS_io_uring_setup,
    "ioctl" => libc::SYS_ioctl,
    "ioperm" => libc::SYS_ioperm,
    "iopl" => libc::SYS_iopl,
    "ioprio_set" => libc::SYS_ioprio_set,
    "kcmp" => libc::SYS_kcmp,
    "kexec_file_load" => libc::SYS_kexec_file_load,
    "kexec_load" => libc::SYS_kexec_load,
    "keyctl" => libc::SYS_keyctl,
    "kill" => libc::SYS_kill,
    "migrate_pages" => libc::SYS_migrate_pages,
    "modify_ldt" => libc::SYS_modify_ldt,
    "mount" => libc::SYS_mount,
    "mount_setattr" => libc::SYS_mount_setattr,
    "move_mount" => libc::SYS_move_mount,
    "move_pages" => libc::SYS_move_pages,
    "open_by_handle_at" => libc::SYS_open_by_handle_at,
    "open_tree" => libc::SYS_open_tree,
    "perf_event_open" => libc::SYS_perf_event_open,
    "personality" => libc::SYS_personality,
    "pidfd_getfd" => libc::SYS_pidfd_getfd,
    "pidfd_open" => libc::SYS_pidfd_open,
    "pivot_root" => libc::SYS_pivot_root,
    "prlimit64" => libc::SYS_prlimit64,
    "process_madvise" => libc::SYS_process_madvise,
    "process_vm_readv" => libc::SYS_process_vm_readv,
    "process_vm_writev" => libc::SYS_process_vm_writev,
    "ptrace" => libc::SYS_ptrace,
    "quotactl" => libc::SYS_quotactl,
    "quotactl_fd" => libc::SYS_quotactl_fd,
    "reboot" => libc::SYS_reboot,
    "request_key" => libc::SYS_request_key,
    "rt_sigqueueinfo" => libc::SYS_rt_sigqueueinfo,
    "rt_tgsigqueueinfo" => libc::SYS_rt_tgsigqueueinfo,
    "sched_setaffinity" => libc::SYS_sched_setaffinity,
    "sched_setattr" => libc::SYS_sched_setattr,
    "sched_setparam" => libc::SYS_sched_setparam,
    "sched_setscheduler" => libc::SYS_sched_setscheduler,
    "setns" => libc::SYS_setns,
    "setpriority" => libc::SYS_setpriority,
    "settimeofday" => libc::SYS_settimeofday,
    "socket" => libc::SYS_socket,
    "socketpair" => libc::SYS_socketpair,
    "swapoff" => libc::SYS_swapoff,
    "swapon" => libc::SYS_swapon,
    "syslog" => libc::SYS_syslog,
    "tgkill" => libc::SYS_tgkill,
    "tkill" => libc::SYS_tkill,
    "umount2" => libc::SYS_umount2,
    "unshare" => libc::SYS_unshare,
    "uselib" => libc::SYS_uselib,
    "userfaultfd" => libc::SYS_userfaultfd,
}
