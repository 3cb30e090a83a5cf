//! Rules → a classic BPF program over `struct seccomp_data` (`seccomp(2)`). Pure.
//!
//! Every call of the user's goes through it, so what is common must be short: the numbers
//! are compared in a tree of halves, about seven comparisons for a call that no rule names.
//!
//! A foreign architecture (`int 0x80`) ends the process: its numbers mean other calls. An
//! x32 number (bit 30) has the same architecture as ours, and is answered "no such call".

use std::collections::BTreeMap;

use super::{Answer, Condition, Test};

/// Most instructions of a filter (`BPF_MAXINSNS`, `linux/bpf_common.h`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// `AUDIT_ARCH_X86_64` of `linux/audit.h`.
const ARCHITECTURE: u32 = 0xc000_003e;
/// `__X32_SYSCALL_BIT` of `asm/unistd.h`.
const X32: u32 = 0x4000_0000;

/// Offsets in `struct seccomp_data`.
const AT_NUMBER: u32 = 0;
const AT_ARCHITECTURE: u32 = 4;
const AT_ARGUMENTS: u32 = 16;

/// Instruction codes of `linux/bpf_common.h`, as classes put together.
pub(super) const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
pub(super) const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
pub(super) const AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
pub(super) const ANY_BIT: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
pub(super) const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
pub(super) const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// Verdicts of `linux/seccomp.h`.
pub(super) const ALLOW: u32 = 0x7fff_0000;
pub(super) const KILL_PROCESS: u32 = 0x8000_0000;
pub(super) const ERRNO: u32 = 0x0005_0000;

/// One instruction, laid out as the kernel's `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// Instructions to skip if a comparison holds.
    pub jump_true: u8,
    /// Instructions to skip if it does not.
    pub jump_false: u8,
    /// Operand.
    pub operand: u32,
}

/// A call's number, when it is denied, and what it is told.
pub(super) type Resolved<'a> = (u32, Option<&'a Condition>, Answer);

/// The whole program. Rules of one number stay in their order.
pub(super) fn assemble(rules: &[Resolved<'_>]) -> Vec<Instruction> {
    let mut by_number: BTreeMap<u32, Vec<Instruction>> = BTreeMap::new();
    for (number, condition, answer) in rules {
        let block = by_number.entry(*number).or_default();
        block.extend(test(*condition, *answer));
    }
    let blocks: Vec<(u32, Vec<Instruction>)> = by_number.into_iter().collect();
    let mut program = vec![
        load(AT_ARCHITECTURE),
        compare(EQUAL, ARCHITECTURE, 1, 0),
        give(KILL_PROCESS),
        load(AT_NUMBER),
        compare(AT_LEAST, X32, 0, 1),
        deny(Answer::NoSuchCall),
    ];
    program.extend(tree(&blocks));
    program
}

/// Number in the accumulator → the block of that number, or "allowed". The upper half lies
/// behind the lower, which may be further than the 255 instructions of a comparison's own
/// jump: hence the long jump.
fn tree(blocks: &[(u32, Vec<Instruction>)]) -> Vec<Instruction> {
    match blocks {
        [] => vec![give(ALLOW)],
        [(number, block)] => {
            let mut leaf = vec![compare(EQUAL, *number, 1, 0), give(ALLOW)];
            leaf.extend(block);
            leaf.push(give(ALLOW));
            leaf
        }
        _ => {
            let (low, high) = blocks.split_at(blocks.len() / 2);
            let lower = tree(low);
            let mut node = vec![
                compare(AT_LEAST, high[0].0, 0, 1),
                // A program that would make this overflow is refused for its length.
                instruction(JUMP, 0, 0, u32::try_from(lower.len()).unwrap_or(u32::MAX)),
            ];
            node.extend(lower);
            node.extend(tree(high));
            node
        }
    }
}

/// Answers if the condition holds, falls through if not.
fn test(condition: Option<&Condition>, answer: Answer) -> Vec<Instruction> {
    let Some(Condition { argument, test }) = condition else {
        return vec![deny(answer)];
    };
    // Little endian: the lower half comes first.
    let mut block = vec![load(AT_ARGUMENTS + 8 * u32::from(*argument))];
    match test {
        Test::AnyBit(bits) => {
            block.push(compare(ANY_BIT, *bits, 0, 1));
            block.push(deny(answer));
        }
        Test::AnyOf(values) => {
            for value in values {
                block.push(compare(EQUAL, *value, 0, 1));
                block.push(deny(answer));
            }
        }
        Test::NoneOf(values) => {
            // Each hit jumps over those that are left, and over the answer.
            for (index, value) in values.iter().enumerate() {
                let over = u8::try_from(values.len() - index).unwrap_or(u8::MAX);
                block.push(compare(EQUAL, *value, over, 0));
            }
            block.push(deny(answer));
        }
    }
    block
}

const fn load(offset: u32) -> Instruction {
    instruction(LOAD, 0, 0, offset)
}

const fn compare(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    instruction(code, jump_true, jump_false, operand)
}

const fn give(verdict: u32) -> Instruction {
    instruction(RETURN, 0, 0, verdict)
}

fn deny(answer: Answer) -> Instruction {
    give(ERRNO | u32::from(answer.errno()))
}

const fn instruction(code: u16, jump_true: u8, jump_false: u8, operand: u32) -> Instruction {
    Instruction {
        code,
        jump_true,
        jump_false,
        operand,
    }
}
