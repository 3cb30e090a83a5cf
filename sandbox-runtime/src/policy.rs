//! Which system calls the user's process is refused: `policy/seccomp.json` → [`Policy`] →
//! the kernel's filter program. Pure.
//!
//! A list of what is denied, on top of the runtime's own filter, which is the stricter one
//! for most calls but is not ours to rely on. The program is written by [`bpf`], not by
//! the crate `seccompiler`: that one knows one answer per filter, and has no rule on ranges
//! of numbers, so that in a list of denials every call could be made under its x32 number.

mod bpf;
mod calls;
#[cfg(test)]
mod tests;

pub use self::bpf::{Instruction, MAX_INSTRUCTIONS};
pub use self::calls::number;

use serde::Deserialize;

/// The rules, checked in with a reason for each.
const SOURCE: &str = include_str!("../policy/seccomp.json");

/// The list as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Looked at in this order; the first that applies answers.
    pub rules: Vec<Rule>,
}

/// Some calls, what they are answered, and why.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Names of system calls, as in `syscalls(2)`.
    pub calls: Vec<String>,
    /// Denied only when this is so; always, where there is none.
    pub when: Option<Condition>,
    /// What the caller is told.
    pub answer: Answer,
    /// Why, for whoever meets the refusal.
    pub reason: String,
}

/// A test of one argument. Only its lower 32 bits count, which is all that the kernel takes
/// of the arguments that are tested here: a rule on all 64 is passed with a bit above them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Which one, from 0 to 5.
    pub argument: u8,
    /// What it must be.
    #[serde(flatten)]
    pub test: Test,
}

/// What an argument must be for a rule to apply.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Test {
    /// One of these.
    AnyOf(Vec<u32>),
    /// None of these.
    NoneOf(Vec<u32>),
    /// With at least one of these bits.
    AnyBit(u32),
}

/// The error a denied call ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Answer {
    /// Not permitted.
    #[serde(rename = "EPERM")]
    NotPermitted,
    /// No such call: the caller is to use another.
    #[serde(rename = "ENOSYS")]
    NoSuchCall,
    /// No such family of addresses.
    #[serde(rename = "EAFNOSUPPORT")]
    NoSuchFamily,
}

impl Answer {
    /// The number of the error (`errno(3)`).
    pub const fn errno(self) -> u16 {
        match self {
            Self::NotPermitted => 1,
            Self::NoSuchCall => 38,
            Self::NoSuchFamily => 97,
        }
    }
}

/// Why the list is none. A test reads the list that is built in, so that only a broken
/// build could say so.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It is not JSON of the right form.
    #[error("failed to read the list of denied calls")]
    Form(#[from] serde_json::Error),
    /// A name that is no system call of this processor.
    #[error("failed to find the number of system call `{0}`")]
    UnknownCall(String),
    /// An argument that no call has.
    #[error("system calls have arguments 0 to 5, not {0}")]
    Argument(u8),
    /// More than a kernel takes.
    #[error("{0} instructions are more than the {MAX_INSTRUCTIONS} that a filter may have")]
    TooLong(usize),
}

/// The list that is built in.
pub fn policy() -> Result<Policy, PolicyError> {
    Ok(serde_json::from_str(SOURCE)?)
}

/// The list as the kernel takes it (`seccomp(2)`).
pub fn program(policy: &Policy) -> Result<Vec<Instruction>, PolicyError> {
    let mut resolved = Vec::new();
    for rule in &policy.rules {
        if let Some(condition) = rule.when.as_ref().filter(|when| when.argument > 5) {
            return Err(PolicyError::Argument(condition.argument));
        }
        for name in &rule.calls {
            let number =
                calls::number(name).ok_or_else(|| PolicyError::UnknownCall(name.clone()))?;
            resolved.push((number, rule.when.as_ref(), rule.answer));
        }
    }
    let program = bpf::assemble(&resolved);
    if program.len() > MAX_INSTRUCTIONS {
        return Err(PolicyError::TooLong(program.len()));
    }
    Ok(program)
}
