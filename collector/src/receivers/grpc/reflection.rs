//! `ServerReflectionInfo` of gRPC's reflection, `v1` and `v1alpha`: tools such as grpcurl ask which services there are, and
//! for the descriptors of their messages, one question after the other on one stream.
//! <https://github.com/grpc/grpc-proto/blob/master/grpc/reflection/v1/reflection.proto>

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use prost::Message;
use tokio::time::timeout;

use super::call::{GrpcBody, Messages, stream};
use super::frame::{frame, message_length, unframe};
use super::trailers::{short_trailers, success_trailers};
use crate::codec::otlp::schema::describe;
use crate::receivers::body::{BODY_PAUSE_MAX, RequestBody};
use crate::receivers::refusal::Refusal;
use crate::receivers::rpc::Code;

pub(in crate::receivers) const PATHS: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Largest framed question, which is a name.
const QUESTION_BYTES_MAX: usize = 1_024;
/// Questions of one stream: a client asks for each service and each of its files.
const QUESTIONS_MAX: usize = 1_000;

#[derive(Clone, PartialEq, Message)]
struct Question {
    #[prost(string, tag = "1")]
    host: String,
    #[prost(oneof = "Asked", tags = "3, 4, 5, 6, 7")]
    asked: Option<Asked>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Asked {
    #[prost(string, tag = "3")]
    File(String),
    #[prost(string, tag = "4")]
    FileWith(String),
    /// An extension; there are none.
    #[prost(bytes, tag = "5")]
    Extension(Vec<u8>),
    #[prost(string, tag = "6")]
    ExtensionsOf(String),
    #[prost(string, tag = "7")]
    Services(String),
}

#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(string, tag = "1")]
    host: String,
    #[prost(message, optional, tag = "2")]
    question: Option<Question>,
    #[prost(oneof = "Answered", tags = "4, 6, 7")]
    answered: Option<Answered>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Answered {
    #[prost(message, tag = "4")]
    Files(Files),
    #[prost(message, tag = "6")]
    Services(Services),
    #[prost(message, tag = "7")]
    Unknown(Unknown),
}

#[derive(Clone, PartialEq, Message)]
struct Files {
    #[prost(bytes = "vec", repeated, tag = "1")]
    files: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Services {
    #[prost(message, repeated, tag = "1")]
    services: Vec<Service>,
}

#[derive(Clone, PartialEq, Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Unknown {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// Answers each question as it comes.
pub(in crate::receivers) fn serve<B: RequestBody + Send + 'static>(body: B) -> Response<GrpcBody> {
    stream(Questions {
        body,
        received: BytesMut::new(),
        count: 0,
    })
}

/// The questions of a stream.
struct Questions<B> {
    body: B,
    /// Bytes that were not read yet.
    received: BytesMut,
    count: usize,
}

impl<B: RequestBody + Send + 'static> Messages for Questions<B> {
    async fn next(&mut self) -> Result<Bytes, HeaderMap> {
        match self.question().await {
            Ok(Some(question)) => Ok(frame(&answer(question).encode_to_vec())),
            Ok(None) => Err(success_trailers()),
            Err(refusal) => Err(short_trailers(refusal.code(), &refusal.to_string())),
        }
    }
}

impl<B: RequestBody> Questions<B> {
    /// Returns the next question; `None` once the client has no more.
    async fn question(&mut self) -> Result<Option<Question>, Refusal> {
        let limit = QUESTION_BYTES_MAX;
        loop {
            let length = message_length(&self.received);
            if length.unwrap_or(self.received.len()) > limit {
                return Err(Refusal::TooLarge { limit });
            }
            if let Some(length) = length.filter(|length| self.received.len() >= *length) {
                self.count += 1;
                let framed = self.received.copy_to_bytes(length);
                return self.read(framed).map(Some);
            }
            match self.more().await? {
                Some(bytes) => self.received.extend_from_slice(&bytes),
                None if self.received.is_empty() => return Ok(None),
                None => return Err(Refusal::Incomplete("a question was cut".to_owned())),
            }
        }
    }

    fn read(&self, framed: Bytes) -> Result<Question, Refusal> {
        if self.count > QUESTIONS_MAX {
            let problem = format!("a stream has {QUESTIONS_MAX} questions at most");
            return Err(Refusal::Malformed(problem));
        }
        let frame = unframe(framed)?;
        if frame.compressed {
            let problem = "compressed questions are not read here".to_owned();
            return Err(Refusal::Malformed(problem));
        }
        let malformed = |error| Refusal::Malformed(format!("no ServerReflectionRequest: {error}"));
        Question::decode(frame.message).map_err(malformed)
    }

    async fn more(&mut self) -> Result<Option<Bytes>, Refusal> {
        let limit = BODY_PAUSE_MAX;
        match timeout(limit, self.body.frame()).await {
            Ok(Some(Ok(frame))) => Ok(Some(frame.into_data().unwrap_or_default())),
            Ok(Some(Err(error))) => Err(Refusal::Incomplete(error.to_string())),
            Ok(None) => Ok(None),
            Err(_elapsed) => Err(Refusal::TooSlow { limit }),
        }
    }
}

fn answer(question: Question) -> Answer {
    let files = |files: Option<Vec<Vec<u8>>>, name: &str| match files {
        Some(files) => Answered::Files(Files { files }),
        None => unknown(&format!("nothing is described by {name:?} here")),
    };
    let answered = match &question.asked {
        Some(Asked::File(name)) => files(describe::file(name), name),
        Some(Asked::FileWith(symbol)) => files(describe::file_with(symbol), symbol),
        Some(Asked::Services(_)) => {
            let services = describe::services().map(|name| Service { name }).collect();
            Answered::Services(Services { services })
        }
        Some(Asked::Extension(_) | Asked::ExtensionsOf(_)) => unknown("there are no extensions"),
        None => unknown("the request has no question"),
    };
    Answer {
        host: question.host.clone(),
        question: Some(question),
        answered: Some(answered),
    }
}

fn unknown(message: &str) -> Answered {
    Answered::Unknown(Unknown {
        code: Code::NotFound as i32,
        message: message.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use futures_util::stream::iter;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    fn question(asked: Asked) -> Bytes {
        let question = Question {
            host: String::new(),
            asked: Some(asked),
        };
        frame(&question.encode_to_vec())
    }

    /// Returns the answers to the questions in these pieces of a body, and the status at the end.
    async fn answers(pieces: Vec<Bytes>) -> (Vec<Answered>, String) {
        let frames = pieces
            .into_iter()
            .map(|piece| Ok::<_, std::convert::Infallible>(Frame::data(piece)));
        let mut body = serve(StreamBody::new(iter(frames))).into_body();
        let mut answered = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            match frame.into_data() {
                Ok(message) => {
                    let message = unframe(message).unwrap().message;
                    answered.extend(Answer::decode(message).unwrap().answered);
                }
                Err(end) => {
                    let trailers = end.into_trailers().unwrap();
                    return (
                        answered,
                        trailers["grpc-status"].to_str().unwrap().to_owned(),
                    );
                }
            }
        }
        panic!("the stream has no trailers")
    }

    #[tokio::test]
    async fn questions_are_answered_one_by_one_however_they_are_cut() {
        let list = question(Asked::Services(String::new()));
        let health = question(Asked::FileWith("grpc.health.v1.Health".to_owned()));
        let other = question(Asked::FileWith("shop.Cart".to_owned()));
        let mut all = [list, health, other].concat();
        let rest = all.split_off(9);
        let (answered, status) = answers(vec![all.into(), rest.into()]).await;
        assert_eq!(status, "0");
        let [
            Answered::Services(list),
            Answered::Files(files),
            Answered::Unknown(unknown),
        ] = &answered[..]
        else {
            panic!("{answered:?}")
        };
        assert!(
            list.services
                .iter()
                .any(|service| service.name == "zipkin.proto3.SpanService")
        );
        assert_eq!((files.files.len(), unknown.code), (1, 5));
    }

    #[tokio::test]
    async fn a_stream_has_bounds() {
        let one = question(Asked::Extension(Vec::new()));
        let many = vec![one.clone(); QUESTIONS_MAX + 1];
        let (answered, status) = answers(many).await;
        assert_eq!((answered.len(), &*status), (QUESTIONS_MAX, "3"));
        let long = question(Asked::File("x".repeat(QUESTION_BYTES_MAX)));
        assert_eq!(answers(vec![long]).await.1, "8");
        assert_eq!(answers(vec![one.slice(..6)]).await.1, "3");
    }
}
