//! Describes the gRPC services to clients that ask by reflection: one file of descriptors per package. Fields that are not
//! read here are left out.
//! <https://github.com/protocolbuffers/protobuf/blob/main/src/google/protobuf/descriptor.proto>

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use prost::Message as _;

use super::services::{SERVICES, Service};
use super::{Field, Kind, Message, Names};

/// The labels of fields.
const OPTIONAL: i32 = 1;
const REPEATED: i32 = 3;

/// A file of descriptors.
#[derive(Debug, Default)]
pub(crate) struct File {
    /// Full names of its services, methods, messages and enums.
    symbols: BTreeSet<String>,
    /// The packages that it imports.
    imports: BTreeSet<&'static str>,
    described: FileDescriptor,
}

/// The files by package.
static FILES: LazyLock<BTreeMap<&'static str, File>> = LazyLock::new(|| {
    let mut files = Files::default();
    SERVICES
        .iter()
        .for_each(|service| files.add_service(service));
    files.finish()
});

/// Returns the full names of the described services.
pub(crate) fn services() -> impl Iterator<Item = String> {
    let name = |service: &Service| format!("{}.{}", service.package, service.name);
    SERVICES.iter().map(name)
}

/// Returns the encoded file of that name, after it those that it imports.
pub(crate) fn file(name: &str) -> Option<Vec<Vec<u8>>> {
    let package = FILES.keys().find(|package| file_name(package) == name)?;
    Some(with_imports(package))
}

/// Returns the encoded file with a service, method, message or enum, after it those that it imports.
pub(crate) fn file_with(symbol: &str) -> Option<Vec<Vec<u8>>> {
    let (package, _) = FILES
        .iter()
        .find(|(_, file)| file.symbols.contains(symbol))?;
    Some(with_imports(package))
}

fn with_imports(package: &'static str) -> Vec<Vec<u8>> {
    let mut packages = vec![package];
    let mut next = 0;
    while let Some(file) = packages.get(next).and_then(|package| FILES.get(package)) {
        next += 1;
        for import in &file.imports {
            if !packages.contains(import) {
                packages.push(import);
            }
        }
    }
    let files = packages.iter().filter_map(|package| FILES.get(package));
    files.map(|file| file.described.encode_to_vec()).collect()
}

fn file_name(package: &str) -> String {
    format!("{}.proto", package.replace('.', "/"))
}

/// A package, and a name in it.
type Name = (&'static str, &'static str);

#[derive(Debug, Default)]
struct Files {
    files: BTreeMap<&'static str, File>,
    /// Messages by package and name: those nested in others are added to these at the end.
    messages: BTreeMap<Name, Descriptor>,
    enums: BTreeMap<Name, EnumDescriptor>,
}

impl Files {
    fn add_service(&mut self, service: &Service) {
        let mut methods = Vec::new();
        for method in service.methods {
            self.add_message(service.package, method.request);
            self.add_message(service.package, method.response);
            methods.push(MethodDescriptor {
                name: method.name.to_owned(),
                input_type: type_name(method.request.name),
                output_type: type_name(method.response.name),
                server_streaming: method.is_stream,
            });
            let symbol = format!("{}.{}.{}", service.package, service.name, method.name);
            self.file(service.package).symbols.insert(symbol);
        }
        let file = self.file(service.package);
        file.symbols
            .insert(format!("{}.{}", service.package, service.name));
        file.described.services.push(ServiceDescriptor {
            name: service.name.to_owned(),
            methods,
        });
    }

    fn file(&mut self, package: &'static str) -> &mut File {
        self.files.entry(package).or_default()
    }

    /// Adds a message that a package uses, and those in its fields.
    fn add_message(&mut self, user: &'static str, message: &'static Message) {
        self.add_symbol(user, message.name);
        if self.messages.contains_key(&message.name) {
            return;
        }
        self.messages.insert(message.name, describe(message));
        for field in message.fields {
            match field.kind {
                Kind::Nested(of_field) | Kind::Map(of_field) => {
                    self.add_message(message.name.0, of_field);
                }
                Kind::Enum(names) => {
                    self.add_symbol(message.name.0, names.name);
                    self.enums.insert(names.name, describe_enum(names));
                }
                _ => {}
            }
        }
    }

    fn add_symbol(&mut self, user: &'static str, (package, name): Name) {
        if user != package {
            self.file(user).imports.insert(package);
        }
        self.file(package)
            .symbols
            .insert(format!("{package}.{name}"));
    }

    /// Puts messages and enums into those around them, and these into their files.
    fn finish(mut self) -> BTreeMap<&'static str, File> {
        for ((package, name), described) in std::mem::take(&mut self.enums) {
            match name.rsplit_once('.') {
                Some((around, _)) => self.around(package, around).enums.push(described),
                None => self.file(package).described.enums.push(described),
            }
        }
        // A nested message sorts after the one around it.
        while let Some(((package, name), described)) = self.messages.pop_last() {
            match name.rsplit_once('.') {
                Some((around, _)) => self.around(package, around).nested.push(described),
                None => self.file(package).described.messages.push(described),
            }
        }
        for (package, file) in &mut self.files {
            file.described.name = file_name(package);
            (*package).clone_into(&mut file.described.package);
            file.described.imports = file
                .imports
                .iter()
                .map(|package| file_name(package))
                .collect();
            "proto3".clone_into(&mut file.described.syntax);
        }
        self.files
    }

    fn around(&mut self, package: &'static str, name: &'static str) -> &mut Descriptor {
        self.messages.entry((package, name)).or_default()
    }
}

fn type_name((package, name): Name) -> String {
    format!(".{package}.{name}")
}

fn short(name: &str) -> String {
    name.rsplit('.').next().unwrap_or_default().to_owned()
}

fn describe(message: &'static Message) -> Descriptor {
    let choice = message.choice.iter().copied();
    let mut fields: Vec<FieldDescriptor> = Vec::new();
    for field in message.fields {
        // Names of earlier versions stand after those of today.
        if fields
            .iter()
            .all(|known| known.number != field.number as i32)
        {
            let is_choice = message
                .choice
                .is_some_and(|(_, of)| of.contains(&field.number));
            fields.push(describe_field(field, is_choice));
        }
    }
    Descriptor {
        name: short(message.name.1),
        fields,
        choices: choice
            .map(|(name, _)| Choice {
                name: name.to_owned(),
            })
            .collect(),
        options: message
            .name
            .1
            .ends_with("Entry")
            .then_some(MessageOptions { map_entry: true }),
        ..Descriptor::default()
    }
}

fn describe_field(field: &Field, is_choice: bool) -> FieldDescriptor {
    let (kind, of) = match field.kind {
        Kind::Nested(message) | Kind::Map(message) => (11, Some(message.name)),
        Kind::Enum(names) => (14, Some(names.name)),
        Kind::Double => (1, None),
        Kind::Int64Or(_) => (3, None),
        Kind::Uint64 => (4, None),
        Kind::Fixed64 | Kind::Nanos => (6, None),
        Kind::Fixed32 => (7, None),
        Kind::Bool => (8, None),
        Kind::Text => (9, None),
        Kind::Id(_) | Kind::Base64 => (12, None),
        Kind::Uint32 => (13, None),
        Kind::Sfixed64Or(_) => (16, None),
        Kind::Sint32 => (17, None),
    };
    FieldDescriptor {
        name: snake_case(field.name),
        number: field.number as i32,
        label: if field.repeated { REPEATED } else { OPTIONAL },
        kind,
        type_name: of.map(type_name),
        choice: is_choice.then_some(0),
        json_name: field.name.to_owned(),
    }
}

fn snake_case(camel: &str) -> String {
    let mut snake = String::new();
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

fn describe_enum(names: &Names) -> EnumDescriptor {
    let values = (0..).zip(names.names).map(|(number, name)| EnumValue {
        name: format!("{}{name}", names.prefix),
        number: Some(number),
    });
    EnumDescriptor {
        name: short(names.name.1),
        values: values.collect(),
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct FileDescriptor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    package: String,
    #[prost(string, repeated, tag = "3")]
    imports: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    messages: Vec<Descriptor>,
    #[prost(message, repeated, tag = "5")]
    enums: Vec<EnumDescriptor>,
    #[prost(message, repeated, tag = "6")]
    services: Vec<ServiceDescriptor>,
    #[prost(string, tag = "12")]
    syntax: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Descriptor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    fields: Vec<FieldDescriptor>,
    #[prost(message, repeated, tag = "3")]
    nested: Vec<Descriptor>,
    #[prost(message, repeated, tag = "4")]
    enums: Vec<EnumDescriptor>,
    #[prost(message, optional, tag = "7")]
    options: Option<MessageOptions>,
    /// `oneof`
    #[prost(message, repeated, tag = "8")]
    choices: Vec<Choice>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MessageOptions {
    #[prost(bool, tag = "7")]
    map_entry: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Choice {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct FieldDescriptor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int32, tag = "3")]
    number: i32,
    #[prost(int32, tag = "4")]
    label: i32,
    #[prost(int32, tag = "5")]
    kind: i32,
    #[prost(string, optional, tag = "6")]
    type_name: Option<String>,
    #[prost(int32, optional, tag = "9")]
    choice: Option<i32>,
    #[prost(string, tag = "10")]
    json_name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EnumDescriptor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    values: Vec<EnumValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EnumValue {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int32, optional, tag = "2")]
    number: Option<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ServiceDescriptor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    methods: Vec<MethodDescriptor>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MethodDescriptor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    input_type: String,
    #[prost(string, tag = "3")]
    output_type: String,
    #[prost(bool, tag = "6")]
    server_streaming: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(files: Option<Vec<Vec<u8>>>) -> Vec<FileDescriptor> {
        let files = files.unwrap_or_default();
        let decode = |file: &Vec<u8>| FileDescriptor::decode(&file[..]).unwrap();
        files.iter().map(decode).collect()
    }

    #[test]
    fn a_file_comes_with_all_that_it_imports() {
        let files = decoded(file_with(
            "opentelemetry.proto.collector.trace.v1.TraceService",
        ));
        let names: Vec<&str> = files.iter().map(|file| &*file.name).collect();
        assert_eq!(
            names,
            [
                "opentelemetry/proto/collector/trace/v1.proto",
                "opentelemetry/proto/trace/v1.proto",
                "opentelemetry/proto/common/v1.proto",
                "opentelemetry/proto/resource/v1.proto",
            ]
        );
        assert_eq!(decoded(file(names[0])), files);
        assert_eq!(file("opentelemetry/proto/profiles/v1.proto"), None);
        assert_eq!(file_with("shop.Cart"), None);
    }

    #[test]
    fn a_message_is_described_with_what_is_nested_in_it() {
        let files = decoded(file_with("opentelemetry.proto.trace.v1.Span.Event"));
        let span = files[0]
            .messages
            .iter()
            .find(|message| message.name == "Span")
            .unwrap();
        let nested: BTreeSet<&str> = span.nested.iter().map(|message| &*message.name).collect();
        assert_eq!(nested, BTreeSet::from(["Event", "Link"]));
        assert_eq!(span.enums[0].values[2].name, "SPAN_KIND_SERVER");
        let events = span.fields.iter().find(|field| field.number == 11).unwrap();
        let of = events.type_name.as_deref();
        assert_eq!(
            (of, events.label),
            (Some(".opentelemetry.proto.trace.v1.Span.Event"), REPEATED)
        );
        assert_eq!(span.fields[6].name, "start_time_unix_nano");
        let spans = files[0]
            .messages
            .iter()
            .find(|message| message.name == "ScopeSpans")
            .unwrap();
        let fields: Vec<&str> = spans.fields.iter().map(|field| &*field.json_name).collect();
        assert_eq!(fields, ["scope", "spans", "schemaUrl"]);
    }

    #[test]
    fn one_of_the_values_of_an_attribute_is_given() {
        let files = decoded(file_with("opentelemetry.proto.common.v1.AnyValue"));
        let value = files[0]
            .messages
            .iter()
            .find(|message| message.name == "AnyValue")
            .unwrap();
        assert_eq!(value.choices[0].name, "value");
        assert!(value.fields.iter().all(|field| field.choice == Some(0)));
    }
}
