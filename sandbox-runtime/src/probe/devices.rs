//! What lies in `/dev` → what should not. Pure; [`super::look`] reads it.
//!
//! The list is that of the OCI (`config-linux.md`, "Default Devices"), by name and number. Whether
//! a device of another name can be opened, the container's own rules on devices say; from inside
//! they cannot be read.

use contract::{SeenRuntime, Strays};

/// Characters by name and number. Consoles are left out: no sandbox has a terminal.
const USUAL: [(&str, u32, u32); 8] = [
    ("/dev/full", 1, 7),
    ("/dev/null", 1, 3),
    ("/dev/ptmx", 5, 2),
    ("/dev/pts/ptmx", 5, 2),
    ("/dev/random", 1, 8),
    ("/dev/tty", 5, 0),
    ("/dev/urandom", 1, 9),
    ("/dev/zero", 1, 5),
];
/// What gVisor's kernel answers itself, with nothing of the node behind it.
const GVISORS: [(&str, u32, u32); 2] = [("/dev/fuse", 10, 229), ("/dev/net/tun", 10, 200)];
/// Majors of the ends of pseudo terminals (`UNIX98_PTY_SLAVE_MAJOR`, eight of them).
const TERMINALS: std::ops::RangeInclusive<u32> = 136..=143;

/// What is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A character device: major and minor.
    Character(u32, u32),
    /// A block device.
    Block(u32, u32),
    /// A socket or a pipe: somebody is behind it.
    Door,
    /// It cannot be looked at.
    Unseen,
}

/// One entry that is no directory, file or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Where.
    pub path: String,
    /// What.
    pub kind: Kind,
}

/// Those that not every container has.
pub fn foreign(devices: &[Device], runtime: SeenRuntime) -> Strays {
    let strays = devices.iter().filter(|device| !is_usual(device, runtime));
    Strays::of(strays.map(|Device { path, kind }| match kind {
        Kind::Character(major, minor) => format!("{path} (character {major}:{minor})"),
        Kind::Block(major, minor) => format!("{path} (block {major}:{minor})"),
        Kind::Door => format!("{path} (a socket or pipe)"),
        Kind::Unseen => format!("{path} (cannot be looked at)"),
    }))
}

fn is_usual(device: &Device, runtime: SeenRuntime) -> bool {
    let Kind::Character(major, minor) = device.kind else {
        return false;
    };
    let listed = (device.path.as_str(), major, minor);
    let terminal = device.path.strip_prefix("/dev/pts/");
    let terminal = terminal.is_some_and(|name| name.parse::<u32>().is_ok());
    USUAL.contains(&listed)
        || terminal && TERMINALS.contains(&major)
        || runtime == SeenRuntime::GVisor && GVISORS.contains(&listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strays(devices: &[(&str, Kind)], runtime: SeenRuntime) -> String {
        let devices: Vec<Device> = devices
            .iter()
            .map(|(path, kind)| Device {
                path: (*path).to_owned(),
                kind: *kind,
            })
            .collect();
        foreign(&devices, runtime).to_string()
    }

    #[test]
    fn what_every_container_has_is_not_foreign() {
        for runtime in [SeenRuntime::Host, SeenRuntime::GVisor] {
            let mut usual: Vec<_> = USUAL
                .iter()
                .map(|(path, major, minor)| (*path, Kind::Character(*major, *minor)))
                .collect();
            usual.push(("/dev/pts/0", Kind::Character(136, 0)));
            assert_eq!(strays(&usual, runtime), "none");
        }
    }

    #[test]
    fn each_other_device_is_named() {
        use Kind::{Block, Character, Door, Unseen};
        for (path, kind, named) in [
            ("/dev/kmsg", Character(1, 11), "/dev/kmsg (character 1:11)"),
            ("/dev/mem", Character(1, 1), "/dev/mem (character 1:1)"),
            (
                "/dev/kvm",
                Character(10, 232),
                "/dev/kvm (character 10:232)",
            ),
            ("/dev/vda", Block(254, 0), "/dev/vda (block 254:0)"),
            ("/dev/null", Block(1, 3), "/dev/null (block 1:3)"),
            // Memory under the name of a device that all have.
            ("/dev/null", Character(1, 1), "/dev/null (character 1:1)"),
            ("/dev/log", Door, "/dev/log (a socket or pipe)"),
            ("/dev/dri", Unseen, "/dev/dri (cannot be looked at)"),
            (
                "/dev/console",
                Character(5, 1),
                "/dev/console (character 5:1)",
            ),
            (
                "/dev/pts/x",
                Character(136, 0),
                "/dev/pts/x (character 136:0)",
            ),
        ] {
            for runtime in [SeenRuntime::Host, SeenRuntime::GVisor] {
                assert_eq!(strays(&[(path, kind)], runtime), named);
            }
        }
    }

    #[test]
    fn what_is_gvisors_own_is_foreign_on_any_other_kernel() {
        let tun = ("/dev/net/tun", Kind::Character(10, 200));
        assert_eq!(strays(&[tun], SeenRuntime::GVisor), "none");
        let named = "/dev/net/tun (character 10:200)";
        assert_eq!(strays(&[tun], SeenRuntime::Host), named);
    }
}
