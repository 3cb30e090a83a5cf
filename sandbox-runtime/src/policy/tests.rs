//! The list is whole, every rule of it bites, and nothing else does: the program is run here,
//! instruction by instruction, as the kernel runs it.

use std::collections::BTreeSet;

use super::bpf::{
    ALLOW, ANY_BIT, AT_LEAST, EQUAL, ERRNO, Instruction, JUMP, KILL_PROCESS, LOAD, RETURN,
};
use super::*;

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;

/// What the filter says to one call, and after how many instructions.
fn run(program: &[Instruction], architecture: u32, number: u32, arguments: [u64; 6]) -> (u32, u32) {
    let mut data = Vec::new();
    data.extend(number.to_le_bytes());
    data.extend(architecture.to_le_bytes());
    data.extend(0_u64.to_le_bytes());
    for value in arguments {
        data.extend(value.to_le_bytes());
    }
    let (mut at, mut accumulator, mut steps) = (0, 0_u32, 0);
    loop {
        let instruction = program[at];
        steps += 1;
        at += 1;
        let holds = match instruction.code {
            LOAD => {
                let offset = instruction.operand as usize;
                accumulator = u32::from_le_bytes(data[offset..offset + 4].try_into().unwrap());
                continue;
            }
            JUMP => {
                at += instruction.operand as usize;
                continue;
            }
            RETURN => return (instruction.operand, steps),
            EQUAL => accumulator == instruction.operand,
            AT_LEAST => accumulator >= instruction.operand,
            ANY_BIT => accumulator & instruction.operand != 0,
            other => panic!("unknown instruction {other:#x}"),
        };
        let over = if holds {
            instruction.jump_true
        } else {
            instruction.jump_false
        };
        at += usize::from(over);
    }
}

fn built_in() -> (Policy, Vec<Instruction>) {
    let policy = policy().unwrap();
    let program = program(&policy).unwrap();
    (policy, program)
}

/// Arguments that meet a condition, and arguments that do not.
fn samples(condition: Option<&Condition>) -> (Vec<[u64; 6]>, Vec<[u64; 6]>) {
    let Some(condition) = condition else {
        return (vec![[0; 6], [u64::MAX; 6]], vec![]);
    };
    let with = |value: u64| {
        let mut arguments = [0; 6];
        arguments[usize::from(condition.argument)] = value;
        arguments
    };
    let all = |values: &[u32]| values.iter().map(|v| with(u64::from(*v))).collect();
    match &condition.test {
        Test::AnyOf(values) => (all(values), vec![with(0x1234_5678)]),
        Test::NoneOf(values) => (vec![with(0x1234_5678)], all(values)),
        Test::AnyBit(bits) => {
            let set = (0..32).filter(|bit| bits & (1 << bit) != 0);
            (
                set.map(|bit| with(1 << bit)).collect(),
                vec![with(u64::from(!bits)), with(0)],
            )
        }
    }
}

#[test]
fn every_rule_is_parsed_has_a_reason_and_answers() {
    let (policy, program) = built_in();
    for rule in &policy.rules {
        assert!(rule.reason.len() > 10, "{:?} lacks a reason", rule.calls);
        assert!(!rule.calls.is_empty());
        for name in &rule.calls {
            let number = calls::number(name).unwrap();
            let (denied, _) = samples(rule.when.as_ref());
            for arguments in denied {
                let (verdict, _) = run(&program, X86_64, number, arguments);
                assert_eq!(verdict & 0xffff_0000, ERRNO, "{name} {arguments:?}");
                assert_eq!(verdict & 0xffff, u32::from(rule.answer.errno()), "{name}");
            }
        }
    }
}

#[test]
fn what_no_condition_meets_is_allowed() {
    let (policy, program) = built_in();
    for rule in &policy.rules {
        for name in &rule.calls {
            let others = policy.rules.iter().filter(|r| r.calls.contains(name));
            if others.count() > 1 {
                continue; // Its own test follows.
            }
            let number = calls::number(name).unwrap();
            for arguments in samples(rule.when.as_ref()).1 {
                assert_eq!(run(&program, X86_64, number, arguments).0, ALLOW, "{name}");
            }
        }
    }
}

#[test]
fn a_call_with_two_rules_is_denied_by_either() {
    let (_, program) = built_in();
    let ask = |name, which, who| {
        let number = calls::number(name).unwrap();
        run(&program, X86_64, number, [which, who, 19, 0, 0, 0]).0
    };
    assert_eq!(ask("setpriority", 0, 0), ALLOW);
    assert_eq!(ask("setpriority", 0, 1), ERRNO + 1);
    assert_eq!(ask("setpriority", 0, 7), ERRNO + 1);
    assert_eq!(ask("setpriority", 2, 0), ERRNO + 1);
    assert_eq!(ask("ioprio_set", 1, 0), ALLOW);
    assert_eq!(ask("ioprio_set", 1, 1), ERRNO + 1);
    assert_eq!(ask("ioprio_set", 1, 7), ERRNO + 1);
    assert_eq!(ask("ioprio_set", 3, 0), ERRNO + 1);
}

#[test]
fn every_other_call_is_allowed_within_few_instructions() {
    let (policy, program) = built_in();
    let named: BTreeSet<u32> = policy
        .rules
        .iter()
        .flat_map(|rule| rule.calls.iter().filter_map(|name| calls::number(name)))
        .collect();
    let mut most = 0;
    for number in (0..600).filter(|number| !named.contains(number)) {
        let (verdict, steps) = run(&program, X86_64, number, [u64::MAX; 6]);
        assert_eq!(verdict, ALLOW, "{number}");
        most = most.max(steps);
    }
    println!(
        "{} instructions, at most {most} for an allowed call",
        program.len()
    );
    assert!(most <= 24, "{most} instructions for an allowed call");
}

#[test]
fn bits_above_the_lower_32_change_nothing() {
    let (_, program) = built_in();
    let number = calls::number("ioctl").unwrap();
    let sneaky = [0, 0x5412 | 1 << 32, 0, 0, 0, 0];
    assert_eq!(run(&program, X86_64, number, sneaky).0, ERRNO + 1);
}

#[test]
fn another_architecture_dies_and_x32_is_missing() {
    let (policy, program) = built_in();
    assert_eq!(run(&program, I386, 20, [0; 6]).0, KILL_PROCESS);
    for name in policy.rules.iter().flat_map(|rule| &rule.calls) {
        let x32 = calls::number(name).unwrap() | 0x4000_0000;
        assert_eq!(run(&program, X86_64, x32, [0; 6]).0, ERRNO + 38, "{name}");
    }
}

#[test]
fn no_number_is_kept_that_no_rule_uses() {
    let (policy, _) = built_in();
    let used: BTreeSet<&str> = policy
        .rules
        .iter()
        .flat_map(|rule| rule.calls.iter().map(String::as_str))
        .collect();
    assert_eq!(used, calls::NAMES.iter().copied().collect());
}

#[test]
fn rejects_a_list_that_names_what_is_not_there() {
    let read = |text: &str| serde_json::from_str::<Policy>(text).map(|policy| program(&policy));
    let rule = |calls, when| {
        format!(r#"{{"rules":[{{"calls":["{calls}"],{when}"answer":"EPERM","reason":"x"}}]}}"#)
    };
    assert!(matches!(
        read(&rule("mont", "")).unwrap(),
        Err(PolicyError::UnknownCall(_))
    ));
    assert!(matches!(
        read(&rule("mount", r#""when":{"argument":6,"anyBit":1},"#)).unwrap(),
        Err(PolicyError::Argument(6))
    ));
    assert!(read(&rule("mount", r#""when":{"argument":0,"someBit":1},"#)).is_err());
    assert!(read(&rule("mount", r#""wen":{},"#)).is_err());
}
