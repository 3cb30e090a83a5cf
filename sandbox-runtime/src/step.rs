//! What is done, one [`Step`] at a time, before the first instruction of the user's. Pure.
//!
//! A step's `Display` is its line in the log and its name in a refusal.

use std::fmt;
use std::path::PathBuf;

use rustix::process;

/// One thing to do. Those of the supervisor come first, those of the child after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Supervisor: its memory, environment and descriptors are closed to its own user. Under
    /// gVisor its memory alone: nothing secret may be in its environment or in an open file.
    HideSupervisor,
    /// Supervisor: the input is put where the command will look for it.
    PlaceInput(PathBuf),
    /// Child: a session and a process group of its own, without a terminal.
    NewSession,
    /// Child: no signal ignored, none held back.
    DefaultSignals,
    /// Child: what others may do with the files that it makes.
    Umask(u32),
    /// Child: soft and hard limit of a resource.
    Limit(Resource, u64),
    /// Child: no descriptor but stdin, stdout and stderr reaches the command.
    CloseDescriptors,
    /// Child: no capability, and none to come.
    DropCapabilities,
    /// Child: nothing that it executes can gain a right (`no_new_privs`).
    NoNewPrivileges,
    /// Child: Landlock.
    RestrictFiles(FileRules),
    /// Child: seccomp. Last, so that the list need not let the steps before it through.
    FilterCalls,
}

/// A resource whose use is limited (`setrlimit(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Bytes of a core dump.
    Core,
    /// Open descriptors.
    Files,
    /// Processes of the user.
    Processes,
    /// Bytes of a file.
    FileBytes,
    /// Bytes of address space.
    AddressSpace,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Core,
        Self::Files,
        Self::Processes,
        Self::FileBytes,
        Self::AddressSpace,
    ];

    /// The kernel's name for it.
    pub const fn kernels(self) -> process::Resource {
        match self {
            Self::Core => process::Resource::Core,
            Self::Files => process::Resource::Nofile,
            Self::Processes => process::Resource::Nproc,
            Self::FileBytes => process::Resource::Fsize,
            Self::AddressSpace => process::Resource::As,
        }
    }
}

/// What Landlock leaves of the file system, and of the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRules {
    /// ABI whose every right is taken away where it is not given back.
    pub abi: u8,
    /// Below these: everything but devices.
    pub writable: Vec<PathBuf>,
    /// Below these: nothing but the names.
    pub hidden: Vec<PathBuf>,
}

/// First ABI with scopes.
const SCOPES: u8 = 6;

impl FileRules {
    /// Whether signals and abstract sockets end at the jail's border, too.
    pub const fn has_scopes(&self) -> bool {
        self.abi >= SCOPES
    }
}

impl Step {
    /// Whether the child does it to itself, before it is the command.
    pub const fn is_childs(&self) -> bool {
        match self {
            Self::HideSupervisor | Self::PlaceInput(_) => false,
            Self::NewSession
            | Self::DefaultSignals
            | Self::Umask(_)
            | Self::Limit(..)
            | Self::CloseDescriptors
            | Self::DropCapabilities
            | Self::NoNewPrivileges
            | Self::RestrictFiles(_)
            | Self::FilterCalls => true,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HideSupervisor => out.write_str("hide the supervisor's memory"),
            Self::PlaceInput(path) => write!(out, "place the input at {}", path.display()),
            Self::NewSession => out.write_str("open a session"),
            Self::DefaultSignals => out.write_str("reset signals"),
            Self::Umask(mask) => write!(out, "set umask {mask:03o}"),
            Self::Limit(resource, most) => write!(out, "limit {resource} to {most}"),
            Self::CloseDescriptors => out.write_str("close descriptors above 2"),
            Self::DropCapabilities => out.write_str("drop capabilities"),
            Self::NoNewPrivileges => out.write_str("set no_new_privs"),
            Self::RestrictFiles(rules) => write!(out, "restrict files by {rules}"),
            Self::FilterCalls => out.write_str("filter system calls"),
        }
    }
}

impl fmt::Display for FileRules {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Landlock ABI {}, writable", self.abi)?;
        for path in &self.writable {
            write!(out, " {}", path.display())?;
        }
        for path in &self.hidden {
            write!(out, ", hidden {}", path.display())?;
        }
        out.write_str(if self.has_scopes() {
            ", signals and abstract sockets scoped"
        } else {
            ", signals and abstract sockets NOT scoped"
        })
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Core => "core dumps",
            Self::Files => "open files",
            Self::Processes => "processes",
            Self::FileBytes => "file size",
            Self::AddressSpace => "address space",
        })
    }
}
