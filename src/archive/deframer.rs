//! Takes a stream apart into frames, has them decoded and hashed, and hands them out in order.
//!
//! Invariants: the input is read by the caller's thread only; frames under way hold at most [`depth`] times a frame's
//! content (and one frame more). What is wrong with a frame comes out at its place, after the frames before it.

use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::sync::Arc;

use super::error::{Error, FrameProblem, TrailerProblem};
use super::framedigest::FrameDigest;
use super::framer::depth;
use super::frames::{Class, Codec, Decoder, Head, Next, SplitError, split};
use super::index::Frame;
use super::input::Input;
use super::limits::{FRAME_SIZE, MAX_FRAMES};
use super::pool::{Buffers, Content, Pool};

/// A frame as it is in the file.
pub(super) struct Stored {
    pub bytes: Vec<u8>,
    /// Of a frame that was taken by the index, only the size of the content is known.
    pub head: Head,
    pub offset: u64,
    /// What its digest must be, where that is known beforehand.
    pub expected: Option<FrameDigest>,
}

/// A frame after the pool.
pub(super) struct Decoded {
    pub content: Result<Arc<Content>, FrameProblem>,
    pub stored: Vec<u8>,
    pub head: Head,
    pub offset: u64,
    pub digest: FrameDigest,
}

/// The pool that decodes frames.
pub(super) type DecodePool = Pool<Stored, Decoded>;

/// Starts a pool that decodes; buffers for content come from `buffers`.
pub(super) fn decode_pool(codec: Codec, threads: NonZeroUsize, buffers: &Buffers) -> Result<DecodePool, Error> {
    Pool::new(threads, || {
        let (mut decoder, buffers) = (Decoder::new(codec)?, buffers.clone());
        Ok(move |frame: Stored| decode(&mut decoder, &buffers, frame))
    })
}

/// Nothing is decoded whose digest is wrong.
pub(super) fn decode(decoder: &mut Decoder, buffers: &Buffers, frame: Stored) -> Decoded {
    let Stored {
        bytes,
        head,
        offset,
        expected,
    } = frame;
    let digest = FrameDigest::of(&bytes);
    let checked = match expected {
        Some(expected) if expected != digest => Err(FrameProblem::Digest),
        Some(_) => head_as_listed(decoder, &bytes, head),
        None => Ok(head),
    };
    let content = checked.and_then(|head| {
        let mut content = buffers.get();
        decoder.decode(&bytes, head, &mut content)?;
        let length = content.len();
        Ok(Content::new(content, length, buffers))
    });
    Decoded {
        content,
        stored: bytes,
        head,
        offset,
        digest,
    }
}

/// The head of a frame that was taken from where the index says, not split from what is before it.
fn head_as_listed(decoder: &Decoder, bytes: &[u8], listed: Head) -> Result<Head, FrameProblem> {
    match decoder.head(bytes)? {
        head if head.content == listed.content => Ok(head),
        _ => Err(FrameProblem::Decode),
    }
}

/// Why there is no next frame. The caller knows the entry that it belongs to.
#[derive(Debug)]
pub(super) enum Fault {
    Read { offset: u64, source: io::Error },
    Truncated { offset: u64 },
    Problem { offset: u64, problem: FrameProblem },
    TooMany,
    Other(Error),
}

impl Fault {
    /// As an error about this entry.
    pub(super) fn about(self, entry: &str) -> Error {
        let entry = entry.to_owned();
        match self {
            Self::Read { offset, source } => Error::Read { offset, source },
            Self::Truncated { offset } => Error::Truncated { offset, entry },
            Self::Problem { offset, problem } => Error::Frame { offset, entry, problem },
            Self::TooMany => Error::TooManyFrames {
                entry,
                limit: MAX_FRAMES,
            },
            Self::Other(error) => error,
        }
    }
}

/// A frame's content, how it was stored, and where.
pub(super) struct Piece {
    pub content: Arc<Content>,
    pub class: Class,
    pub offset: u64,
}

/// See the module.
pub(super) struct Deframer<R> {
    input: Input<R>,
    codec: Codec,
    /// `None` where nothing is compressed.
    pool: Option<DecodePool>,
    buffers: Buffers,
    spare: Buffers,
    depth: usize,
    /// Content of the frames under way.
    under_way: usize,
    /// Set when no more frames are to be taken: at the trailer, or where one cannot be taken.
    ended: Option<Result<(), Fault>>,
    frames: Vec<Frame>,
}

impl<R: Read> Deframer<R> {
    pub(super) fn new(inner: R, threads: NonZeroUsize) -> Result<Self, Error> {
        let mut input = Input::new(inner);
        let start = input.peek(4).map_err(|source| Error::Read { offset: 0, source })?;
        if start.is_empty() {
            return Err(Error::NotAnArchive { problem: "it is empty" });
        }
        let codec = Codec::detect(start);
        let depth = depth(threads);
        let buffers = Buffers::new(depth);
        let pool = match codec {
            Codec::None => None,
            _ => Some(decode_pool(codec, threads, &buffers)?),
        };
        let spare = Buffers::new(depth);
        Ok(Self {
            input,
            codec,
            pool,
            buffers,
            spare,
            depth,
            under_way: 0,
            ended: None,
            frames: Vec::new(),
        })
    }

    pub(super) fn codec(&self) -> Codec {
        self.codec
    }

    /// The frames that were handed out (none where nothing is compressed).
    pub(super) fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The next frame, or `None` at the trailer or the end of the input.
    pub(super) fn next(&mut self) -> Result<Option<Piece>, Fault> {
        if self.pool.is_none() {
            return self.next_plain();
        }
        self.read_ahead()?;
        let Some(pool) = &mut self.pool else { return Ok(None) };
        match pool.wait().map_err(Fault::Other)? {
            Some(decoded) => self.take(decoded).map(Some),
            None => self.ended.take().unwrap_or(Ok(())).map(|()| None),
        }
    }

    fn next_plain(&mut self) -> Result<Option<Piece>, Fault> {
        let (offset, mut bytes) = (self.input.offset(), self.buffers.get());
        let next = self.split(&mut bytes)?;
        let length = bytes.len();
        Ok(match next {
            Next::Frame(head) => {
                let content = Content::new(bytes, length, &self.buffers);
                Some(Piece {
                    content,
                    class: head.class,
                    offset,
                })
            }
            Next::Trailer => None,
        })
    }

    /// Keeps the threads busy. The first frame is handed out before more is read: it holds the manifest, and what follows
    /// may take its time to arrive.
    fn read_ahead(&mut self) -> Result<(), Fault> {
        let depth = if self.frames.is_empty() { 1 } else { self.depth };
        while self.ended.is_none() && self.under_way < depth * FRAME_SIZE {
            let pending = self.pool.as_ref().map_or(0, Pool::pending);
            if pending >= depth {
                break;
            }
            if self.frames.len() + pending >= MAX_FRAMES + super::tail::MAX_TAIL_FRAMES {
                self.ended = Some(Err(Fault::TooMany));
                break;
            }
            self.submit();
        }
        Ok(())
    }

    fn submit(&mut self) {
        let offset = self.input.offset();
        let mut bytes = self.spare.get();
        match self.split(&mut bytes) {
            Ok(Next::Frame(head)) => {
                self.under_way += head.content;
                if let Some(pool) = &mut self.pool {
                    pool.submit(Stored {
                        bytes,
                        head,
                        offset,
                        expected: None,
                    });
                }
            }
            Ok(Next::Trailer) => self.ended = Some(Ok(())),
            Err(fault) => self.ended = Some(Err(fault)),
        }
    }

    fn split(&mut self, bytes: &mut Vec<u8>) -> Result<Next, Fault> {
        let offset = self.input.offset();
        split(self.codec, &mut self.input, bytes).map_err(|error| match error {
            SplitError::Read(source) => Fault::Read {
                offset: self.input.offset(),
                source,
            },
            SplitError::Truncated => Fault::Truncated {
                offset: self.input.end(),
            },
            SplitError::Problem(problem) => Fault::Problem { offset, problem },
        })
    }

    fn take(&mut self, decoded: Decoded) -> Result<Piece, Fault> {
        let Decoded {
            content,
            stored,
            head,
            offset,
            digest,
        } = decoded;
        self.under_way -= head.content;
        self.frames.push(Frame {
            stored: stored.len() as u32,
            content: head.content as u32,
            digest,
        });
        self.spare.put(stored);
        let content = content.map_err(|problem| Fault::Problem { offset, problem })?;
        Ok(Piece {
            content,
            class: head.class,
            offset,
        })
    }

    /// How much was taken from the input.
    pub(super) fn offset(&self) -> u64 {
        self.input.offset()
    }

    /// What follows the last frame must be these bytes and then nothing.
    pub(super) fn finish(&mut self, trailer: &[u8]) -> Result<(), Error> {
        let offset = self.input.offset();
        let mut found = Vec::with_capacity(trailer.len());
        let taken = self
            .input
            .take(trailer.len(), &mut found)
            .map_err(|source| Error::Read { offset, source })?;
        if taken < trailer.len() && trailer.starts_with(&found) {
            return Err(Error::Truncated {
                offset: self.input.end(),
                entry: super::format::SUMS.to_owned(),
            });
        }
        if found != trailer {
            let problem = match self.codec {
                Codec::Gzip => TrailerProblem::EndMember,
                _ => TrailerProblem::SeekTable,
            };
            return Err(Error::Trailer { offset, problem });
        }
        let offset = self.input.offset();
        match self.input.peek(1) {
            Ok([]) => Ok(()),
            Ok(_) => Err(Error::Trailer {
                offset,
                problem: TrailerProblem::TrailingData,
            }),
            Err(source) => Err(Error::Read { offset, source }),
        }
    }
}
