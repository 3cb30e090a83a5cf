//! A [`Launch`] in the form that `execve(2)` takes, made before there is a child: in the child nothing
//! can be allocated.

use std::ffi::{CStr, CString, NulError, OsStr, OsString, c_char};
use std::os::unix::ffi::OsStrExt as _;
use std::ptr;

use super::Launch;

/// Who is given a script that does not say whose it is, as by `execvp(3)`.
pub const SHELL: &CStr = c"/bin/sh";

/// What a child becomes, and where.
pub struct Program {
    /// The executable file.
    pub path: CString,
    /// Where it starts.
    pub directory: CString,
    /// Its name and its arguments.
    pub arguments: Strings,
    /// `NAME=value`.
    pub environment: Strings,
    /// Arguments of [`SHELL`], if the kernel does not know what the file is.
    pub script: Strings,
}

impl Program {
    /// Of what is launched.
    ///
    /// # Errors
    /// If a NUL is in any of it.
    pub fn of(launch: &Launch) -> Result<Self, NulError> {
        let path = text(launch.program.as_os_str())?;
        let arguments = launch.arguments.iter().map(|one| text(one));
        let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
        let rest = arguments.iter().skip(1).cloned();
        let script = [SHELL.to_owned(), path.clone()].into_iter().chain(rest);
        let environment = launch.environment.iter().map(pair);
        Ok(Self {
            path,
            directory: text(launch.directory.as_os_str())?,
            environment: Strings::of(environment.collect::<Result<_, _>>()?),
            script: Strings::of(script.collect()),
            arguments: Strings::of(arguments),
        })
    }
}

fn text(text: &OsStr) -> Result<CString, NulError> {
    CString::new(text.as_bytes())
}

fn pair((name, value): &(OsString, OsString)) -> Result<CString, NulError> {
    CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())
}

/// A list of strings.
pub struct Strings {
    pointers: Vec<*const c_char>,
    _strings: Vec<CString>,
}

impl Strings {
    fn of(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|one| one.as_ptr());
        Self {
            pointers: pointers.chain([ptr::null()]).collect(),
            _strings: strings,
        }
    }

    /// Pointers to each, and a null pointer; good for as long as this lives.
    pub fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }
}
