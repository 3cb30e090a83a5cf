//! The error of a `connect` → what was seen. Pure.
//!
//! Only [`Saw::Silence`] and [`Saw::Unroutable`] are proof of a block, so an error goes
//! there only if it says that the packet did not get there, whoever said so. Every target
//! is judged beside positive controls of the same request: an error that would strike all
//! dials alike (an interface down, a process forbidden to connect at all) fails those.

use contract::Saw;
use rustix::io::Errno;

/// What a failed `connect` has seen.
pub const fn connect_error(errno: Errno) -> Saw {
    match errno {
        // The target, or someone in its name: a policy that rejects with a reset or with
        // "port unreachable" looks the same, and cannot be told from an open network with
        // a closed port. RESET, PIPE, ABORTED: it was up, and was torn down at once.
        Errno::CONNREFUSED | Errno::CONNRESET | Errno::PIPE | Errno::CONNABORTED => Saw::Refused,

        // Our deadline, or the kernel's.
        Errno::TIMEDOUT => Saw::Silence,

        // No route, told by the own routing table; or an ICMP answer of a router on the
        // way ("network", "host unreachable", "administratively prohibited" of IPv4).
        // A router that answers for a target is what stands between us and it.
        Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::NETDOWN | Errno::HOSTDOWN
        | Errno::NONET
        // No such address family here, or no own address in it: IPv6 that is off. The
        // other reason of ADDRNOTAVAIL, no free port, the dial tells apart.
        | Errno::AFNOSUPPORT | Errno::PFNOSUPPORT | Errno::PROTONOSUPPORT
        | Errno::ADDRNOTAVAIL
        // A filter said no: one of the own kernel (BPF on connect gives PERM, a prohibiting
        // route ACCESS), or one on the way ("administratively prohibited" of ICMPv6 gives ACCESS).
        // Either way the packet went no further than the filter. A seccomp or LSM rule
        // against connecting gives the same, and the positive controls show it.
        | Errno::PERM | Errno::ACCESS => Saw::Unroutable,

        // Of our own making (no descriptors, no memory, an address that is none), or
        // unknown: nothing was learnt about the way to the target. INVAL is here although
        // a blackhole route gives it, for an address that is none gives it too.
        _ => Saw::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_from_there_is_never_a_block() {
        for errno in [
            Errno::CONNREFUSED,
            Errno::CONNRESET,
            Errno::PIPE,
            Errno::CONNABORTED,
        ] {
            assert_eq!(connect_error(errno), Saw::Refused, "{errno}");
        }
    }

    #[test]
    fn silence_is_a_deadline_ours_or_the_kernels() {
        assert_eq!(connect_error(Errno::TIMEDOUT), Saw::Silence);
    }

    #[test]
    fn no_way_there_is_unroutable_whoever_says_so() {
        for errno in [
            Errno::NETUNREACH,
            Errno::HOSTUNREACH,
            Errno::NETDOWN,
            Errno::HOSTDOWN,
            Errno::NONET,
            Errno::AFNOSUPPORT,
            Errno::PFNOSUPPORT,
            Errno::PROTONOSUPPORT,
            Errno::ADDRNOTAVAIL,
            Errno::PERM,
            Errno::ACCESS,
        ] {
            assert_eq!(connect_error(errno), Saw::Unroutable, "{errno}");
        }
    }

    #[test]
    fn own_trouble_and_the_unknown_prove_nothing() {
        for errno in [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOMEM,
            Errno::NOBUFS,
            Errno::AGAIN,
            Errno::INTR,
            Errno::INVAL,
            Errno::NOSYS,
            Errno::NOPROTOOPT,
            Errno::PROTO,
            Errno::OPNOTSUPP,
        ] {
            assert_eq!(connect_error(errno), Saw::Error, "{errno}");
        }
    }
}
