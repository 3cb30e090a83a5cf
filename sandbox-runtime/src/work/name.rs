//! The name of process 1, and the clock that it is told by. Not pure: reads and sets both.

use std::ffi::CString;
use std::fs;
use std::io;

use rustix::thread;

use super::title::Title;

/// Where the name of process 1 is to be read. That of the main thread is the process's.
const NAME: &str = "/proc/1/comm";

/// Calls the thread that this is called by so. Of the process it becomes the name only on the main
/// thread.
pub fn show(title: &Title) -> io::Result<()> {
    let name = CString::new(title.to_string())?;
    Ok(thread::set_name(&name)?)
}

/// What process 1 is called.
pub fn shown() -> io::Result<String> {
    let name = fs::read_to_string(NAME)?;
    Ok(name.strip_suffix('\n').unwrap_or(&name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_called_what_it_says() {
        std::thread::spawn(|| {
            show(&Title::Ready(123_456_789)).unwrap();
            let name = fs::read_to_string("/proc/thread-self/comm").unwrap();
            assert_eq!(name, "ready 123456789\n");
        })
        .join()
        .unwrap();
    }
}
