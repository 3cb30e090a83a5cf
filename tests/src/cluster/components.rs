//! What a cluster is made of, and how each part is built. All versions are pinned by the `go.sum` files.

/// Something that is built as one.
#[derive(Debug)]
pub struct Component {
    /// Its name, also that of its directory in `tests/cluster`.
    pub name: &'static str,
    /// What it is, for whoever waits for it.
    pub about: &'static str,
    /// Its module definition: file name and content.
    pub files: &'static [(&'static str, &'static str)],
    /// What comes out.
    pub outputs: &'static [Output],
    /// Whether `up` needs it. The others are built when asked for.
    pub needed: bool,
}

/// A file or directory that a build makes.
#[derive(Debug)]
pub struct Output {
    /// Its name.
    pub name: &'static str,
    /// What it is made from.
    pub source: Source,
}

/// How an output is made.
#[derive(Debug)]
pub enum Source {
    /// By the Go compiler.
    Go {
        /// The main package.
        package: &'static str,
        /// Build tags, separated by commas.
        tags: &'static str,
        /// Flags for the linker.
        link: &'static str,
        /// Whether it has parts in C.
        cgo: bool,
    },
    /// By the C compiler, from a file of a Go module.
    C {
        /// The Go module.
        module: &'static str,
        /// The file in it.
        file: &'static str,
    },
    /// A copy from a Go module.
    Copy {
        /// The Go module.
        module: &'static str,
        /// What to copy.
        path: &'static str,
    },
}

impl Source {
    /// All that matters of it, for a hash.
    pub fn words(&self) -> Vec<&'static str> {
        match self {
            Self::Go {
                package,
                tags,
                link,
                cgo,
            } => vec!["go", package, tags, link, if *cgo { "cgo" } else { "" }],
            Self::C { module, file } => vec!["c", module, file],
            Self::Copy { module, path } => vec!["copy", module, path],
        }
    }
}

/// A static program in pure Go.
const fn program(name: &'static str, package: &'static str, tags: &'static str) -> Output {
    Output {
        name,
        source: Source::Go {
            package,
            tags,
            link: "",
            cgo: false,
        },
    }
}

macro_rules! module {
    ($name:literal, $($file:literal),+) => {
        &[$(($file, include_str!(concat!("../../cluster/", $name, "/", $file)))),+]
    };
}

/// Without it, Kubernetes would not know its own version.
const KUBERNETES_LINK: &str = "-X k8s.io/component-base/version.gitVersion=v1.34.4 \
    -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34 \
    -X k8s.io/component-base/version.gitTreeState=clean";
const CONTAINERD_LINK: &str = "-X github.com/containerd/containerd/v2/version.Version=v2.2.0";
const CONTAINERD_TAGS: &str = "no_btrfs,no_zfs,no_devmapper";

/// All components, the quick ones first: what is wrong with the machine shows early.
pub const COMPONENTS: [Component; 8] = [
    Component {
        name: "etcd",
        about: "the API server's store",
        files: module!("etcd", "go.mod", "go.sum"),
        outputs: &[program("etcd", "go.etcd.io/etcd/server/v3", "")],
        needed: true,
    },
    Component {
        name: "runc",
        about: "what starts a container",
        files: module!("runc", "go.mod", "go.sum"),
        outputs: &[Output {
            name: "runc",
            source: Source::Go {
                package: "github.com/opencontainers/runc",
                tags: "seccomp,netgo,osusergo",
                link: "-extldflags -static",
                cgo: true,
            },
        }],
        needed: true,
    },
    Component {
        name: "gvisor",
        about: "the kernel in user space, and its shim",
        files: module!("gvisor", "go.mod", "go.sum", "main.go"),
        outputs: &[
            program("containerd-shim-runsc-v1", ".", ""),
            program("runsc", "gvisor.dev/gvisor/runsc", ""),
        ],
        needed: true,
    },
    Component {
        name: "containerd",
        about: "the container runtime, about 2 minutes",
        files: module!("containerd", "go.mod", "go.sum"),
        outputs: &[
            Output {
                name: "containerd",
                source: Source::Go {
                    package: "github.com/containerd/containerd/v2/cmd/containerd",
                    tags: CONTAINERD_TAGS,
                    link: CONTAINERD_LINK,
                    cgo: false,
                },
            },
            program(
                "containerd-shim-runc-v2",
                "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
                CONTAINERD_TAGS,
            ),
            program(
                "ctr",
                "github.com/containerd/containerd/v2/cmd/ctr",
                CONTAINERD_TAGS,
            ),
        ],
        needed: true,
    },
    Component {
        name: "coredns",
        about: "the cluster's DNS, about 3 minutes",
        files: module!("coredns", "go.mod", "go.sum"),
        outputs: &[program("coredns", "github.com/coredns/coredns", "")],
        needed: true,
    },
    Component {
        name: "kubernetes",
        about: "all of Kubernetes in one program, about 6 minutes",
        files: module!("kubernetes", "go.mod", "go.sum", "main.go"),
        outputs: &[
            Output {
                name: "hyperkube",
                source: Source::Go {
                    package: ".",
                    tags: "",
                    link: KUBERNETES_LINK,
                    cgo: false,
                },
            },
            Output {
                name: "pause",
                source: Source::C {
                    module: "k8s.io/kubernetes",
                    file: "build/pause/linux/pause.c",
                },
            },
        ],
        needed: true,
    },
    Component {
        name: "cilium",
        about: "the network and its policies, about 7 minutes",
        files: module!("cilium", "go.mod", "go.sum"),
        outputs: &[
            program("cilium-agent", "github.com/cilium/cilium/daemon", ""),
            program(
                "cilium-operator",
                "github.com/cilium/cilium/operator",
                "ipam_provider_operator",
            ),
            program(
                "cilium-cni",
                "github.com/cilium/cilium/plugins/cilium-cni",
                "",
            ),
            Output {
                name: "bpf",
                source: Source::Copy {
                    module: "github.com/cilium/cilium",
                    path: "bpf",
                },
            },
        ],
        needed: true,
    },
    Component {
        name: "helm",
        about: "the package manager, only for tests that install packages",
        files: module!("helm", "go.mod", "go.sum"),
        outputs: &[program("helm", "helm.sh/helm/v3/cmd/helm", "")],
        needed: false,
    },
];
