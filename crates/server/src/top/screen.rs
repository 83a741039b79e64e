//! The terminal while something live is shown: a screen of its own, keys without Enter; given back when it is dropped.

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{self, Read as _, Write as _};
use tokio::sync::mpsc::{Receiver, channel};

/// What a terminal has that does not say how large it is.
const SIZE_DEFAULT: (usize, usize) = (100, 30);

/// Keys that nobody has looked at yet.
const KEYS_WAITING: usize = 16;

/// Another screen, no cursor; and back.
const TAKE: &str = "\x1b[?1049h\x1b[?25l";
const GIVE_BACK: &str = "\x1b[?25h\x1b[?1049l";

/// A terminal that was taken.
pub(super) struct Screen {
    before: Option<Termios>,
}

impl Screen {
    /// Takes the terminal of the process. Without one to read keys from, only Ctrl-C ends.
    pub(super) fn take() -> io::Result<Self> {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        }
        print(TAKE);
        Ok(Self { before })
    }

    /// Keys as they are pressed. The thread behind it ends with the process.
    pub(super) fn keys(&self) -> Receiver<u8> {
        let (send, keys) = channel(KEYS_WAITING);
        std::thread::spawn(move || {
            let mut key = [0];
            while matches!(io::stdin().read(&mut key), Ok(1)) {
                if send.blocking_send(key[0]).is_err() {
                    return;
                }
            }
            // Without a keyboard the view goes on.
            std::thread::park();
            drop(send);
        });
        keys
    }

    /// Columns and lines.
    pub(super) fn size(&self) -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => SIZE_DEFAULT,
        }
    }

    /// Shows a text instead of the last one.
    pub(super) fn show(&self, text: &str) {
        let (_, height) = self.size();
        let mut all = String::from("\x1b[H");
        for line in text.lines().take(height) {
            all.push_str(line);
            // What was behind it on this line goes.
            all.push_str("\x1b[K\r\n");
        }
        let all = all.strip_suffix("\r\n").unwrap_or(&all);
        print(&format!("{all}\x1b[J"));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        print(GIVE_BACK);
        if let Some(before) = &self.before {
            let _as_it_is = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// A closed terminal ends the output, not the work.
pub(super) fn print(text: &str) {
    let mut out = io::stdout();
    let _unseen = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
