//! Contract + what this kernel can do → [`Plan`]: every step in order, or why not. Pure.
//!
//! Nothing to the right of it decides anything: what is not in the plan is not done, and
//! what is in it is done or ends the run before it began.

mod bounds;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use contract::SeenRuntime;
use contract::run::{Profile, RefusalReason, RunContract};

use crate::kernel::Kernel;
use crate::step::{FileRules, Resource, Step};

/// Where names of commands are looked for if the contract has no `PATH` (that of Debian's
/// and most images').
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Files that the command makes are its own.
const UMASK: u32 = 0o077;
/// The process whose end is the end of all others (`pid_namespaces(7)`).
const INIT: u32 = 1;

/// What is to be done, completely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Everything before the command, in order.
    pub steps: Vec<Step>,
    /// Where the command may be; the first that can be executed is.
    pub candidates: Vec<PathBuf>,
    /// What it is called, and its arguments.
    pub arguments: Vec<OsString>,
    /// The whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Where it starts.
    pub directory: PathBuf,
    /// What it reads from stdin.
    pub stdin: Vec<u8>,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A field is out of bounds.
    #[error("`{field}` {problem}")]
    OutOfBounds {
        field: &'static str,
        problem: String,
    },
    /// Not started as the first process of its container.
    #[error("this is process {0}; the supervisor must be process 1 to end all others")]
    NotInit(u32),
    /// gVisor was asked for, and the node's kernel answers.
    #[error("gVisor was asked for, and this is the node's own kernel")]
    NotGVisor,
    /// gVisor has nothing to hide a file with from its own user.
    #[error("`hidden` asks for Landlock, which gVisor has not")]
    NotHidden,
    /// Landlock is off, or older than asked for.
    #[error("Landlock ABI {asked} was asked for, and this kernel has {has} (0: none)")]
    Landlock { asked: u8, has: u8 },
    /// The kernel filters no system calls.
    #[error("this kernel has no seccomp filter")]
    Seccomp,
    /// The kernel lets programs gain rights.
    #[error("this kernel has no no_new_privs")]
    NoNewPrivileges,
    /// A limit above the one that this process is under.
    #[error("{asked} as the limit of {resource} is more than this pod may have: {has}")]
    Limit {
        resource: Resource,
        asked: u64,
        has: u64,
    },
    /// A limit that the kernel takes and does not keep.
    #[error("gVisor does not limit {0}, though it takes the number; use the pod's limit")]
    NotKept(Resource),
}

impl Refused {
    /// Whether the contract or the pod is to be changed.
    pub const fn reason(&self) -> RefusalReason {
        match self {
            Self::OutOfBounds { .. } => RefusalReason::BadContract,
            Self::NotInit(_)
            | Self::NotGVisor
            | Self::NotHidden
            | Self::Landlock { .. }
            | Self::Seccomp
            | Self::NoNewPrivileges
            | Self::Limit { .. }
            | Self::NotKept(_) => RefusalReason::NotEnforceable,
        }
    }
}

/// Plans a run.
pub fn plan(contract: &RunContract, kernel: &Kernel) -> Result<Plan, Refused> {
    bounds::check(contract)?;
    if kernel.process != INIT {
        return Err(Refused::NotInit(kernel.process));
    }
    Ok(Plan {
        steps: steps(contract, kernel)?,
        candidates: candidates(contract),
        arguments: arguments(contract),
        environment: environment(contract),
        directory: contract.directory.clone().into(),
        stdin: contract
            .input
            .as_ref()
            .map_or_else(Vec::new, |input| input.text.clone().into_bytes()),
    })
}

/// The order matters: limits before the right to raise them is lost with the capabilities,
/// `no_new_privs` before Landlock and seccomp, which both ask for it, seccomp last.
fn steps(contract: &RunContract, kernel: &Kernel) -> Result<Vec<Step>, Refused> {
    let files = files(contract, kernel)?;
    if !kernel.seccomp_filter {
        return Err(Refused::Seccomp);
    }
    if !kernel.no_new_privs {
        return Err(Refused::NoNewPrivileges);
    }
    let mut steps = vec![Step::HideSupervisor];
    if let Some(input) = &contract.input {
        steps.push(Step::PlaceInput(input.file.clone().into()));
    }
    steps.extend([Step::NewSession, Step::DefaultSignals, Step::Umask(UMASK)]);
    steps.extend(limits(contract, kernel)?);
    steps.extend([
        Step::CloseDescriptors,
        Step::DropCapabilities,
        Step::NoNewPrivileges,
    ]);
    steps.extend(files.map(Step::RestrictFiles));
    steps.push(Step::FilterCalls);
    Ok(steps)
}

/// Landlock's part, or none where gVisor stands for it.
fn files(contract: &RunContract, kernel: &Kernel) -> Result<Option<FileRules>, Refused> {
    match contract.profile {
        Profile::Hardened { landlock_abi } if kernel.landlock_abi < landlock_abi => {
            Err(Refused::Landlock {
                asked: landlock_abi,
                has: kernel.landlock_abi,
            })
        }
        Profile::Hardened { .. } => Ok(Some(FileRules {
            abi: kernel.landlock_abi,
            writable: contract.writable.iter().map(PathBuf::from).collect(),
            hidden: contract.hidden.iter().map(PathBuf::from).collect(),
        })),
        Profile::GVisor => match kernel.runtime {
            SeenRuntime::GVisor if contract.hidden.is_empty() => Ok(None),
            SeenRuntime::GVisor => Err(Refused::NotHidden),
            SeenRuntime::Host => Err(Refused::NotGVisor),
        },
    }
}

fn limits(contract: &RunContract, kernel: &Kernel) -> Result<Vec<Step>, Refused> {
    let asked = [
        (Resource::Core, Some(0)),
        (Resource::Files, Some(contract.limits.files)),
        (Resource::Processes, contract.limits.processes),
        (Resource::FileBytes, Some(contract.limits.file_bytes)),
        (Resource::AddressSpace, contract.limits.address_space_bytes),
    ];
    let mut steps = Vec::new();
    for (resource, most) in asked {
        let Some(most) = most else { continue };
        if resource == Resource::Processes && kernel.runtime == SeenRuntime::GVisor {
            return Err(Refused::NotKept(resource));
        }
        if let Some(has) = kernel.hard_limit(resource).filter(|has| *has < most) {
            return Err(Refused::Limit {
                resource,
                asked: most,
                has,
            });
        }
        steps.push(Step::Limit(resource, most));
    }
    Ok(steps)
}

/// As `execvp(3)` looks: a name with a slash is a path, from the working directory.
fn candidates(contract: &RunContract) -> Vec<PathBuf> {
    let directory = Path::new(&contract.directory);
    if contract.command.contains('/') {
        return vec![directory.join(&contract.command)];
    }
    let path = contract.environment.get("PATH").map_or(DEFAULT_PATH, |p| p);
    path.split(':')
        .map(|entry| directory.join(entry).join(&contract.command))
        .collect()
}

fn arguments(contract: &RunContract) -> Vec<OsString> {
    let name = std::iter::once(&contract.command);
    name.chain(&contract.arguments)
        .map(OsString::from)
        .collect()
}

fn environment(contract: &RunContract) -> Vec<(OsString, OsString)> {
    let mut environment = contract.environment.clone();
    environment
        .entry("PATH".to_owned())
        .or_insert_with(|| DEFAULT_PATH.to_owned());
    environment
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}
