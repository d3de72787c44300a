//! Reading xz files: several streams one after the other, each with its blocks decoded at once where there are several.

use std::io::{self, BufRead, Read};

use liblzma::bufread::XzDecoder;
use liblzma::stream::{MtStreamBuilder, Stream};

use super::stream::MEMORY;

/// Decompresses an xz file. The library's own decoder with threads stops at the end of the first stream.
pub(super) struct XzReader<R: BufRead>(State<R>);

enum State<R: BufRead> {
    Between(R),
    Within(XzDecoder<R>),
    Done,
}

impl<R: BufRead> XzReader<R> {
    pub(super) fn new(file: R) -> io::Result<Self> {
        Ok(Self(State::Within(XzDecoder::new_stream(file, decoder()?))))
    }

    /// Goes to the next stream, or to the end. Between streams there may be zeros.
    fn between(mut file: R) -> io::Result<State<R>> {
        loop {
            let ready = file.fill_buf()?;
            if ready.is_empty() {
                return Ok(State::Done);
            }
            let zeros = ready.iter().take_while(|&&byte| byte == 0).count();
            if zeros < ready.len() {
                file.consume(zeros);
                return Ok(State::Within(XzDecoder::new_stream(file, decoder()?)));
            }
            file.consume(zeros);
        }
    }
}

impl<R: BufRead> Read for XzReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            self.0 = match std::mem::replace(&mut self.0, State::Done) {
                State::Done => return Ok(0),
                State::Between(file) => Self::between(file)?,
                State::Within(mut decoder) => match decoder.read(buffer)? {
                    0 => State::Between(decoder.into_inner()),
                    count => {
                        self.0 = State::Within(decoder);
                        return Ok(count);
                    }
                },
            };
        }
    }
}

fn decoder() -> io::Result<Stream> {
    let threads = std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1)).min(8);
    let mut builder = MtStreamBuilder::new();
    builder.threads(threads).memlimit_threading(MEMORY).memlimit_stop(MEMORY);
    Ok(builder.decoder()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(file: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        XzReader::new(file)?.read_to_end(&mut text).map(|_| text)
    }

    #[test]
    fn streams_follow_each_other() {
        let file = [packed(b"one "), vec![0; 8], packed(b"two"), vec![0; 4]].concat();
        assert_eq!(unpacked(&file).unwrap(), b"one two");
    }

    #[test]
    fn what_is_cut_or_foreign_is_an_error() {
        let file = packed(b"one ");
        for length in 1..file.len() {
            assert!(unpacked(&file[..length]).is_err(), "{length}");
        }
        assert!(unpacked(&[file, b"garbage".to_vec()].concat()).is_err());
    }
}
