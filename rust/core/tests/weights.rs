//! Safetensors files written, mapped and refused, without an interpreter.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::PathBuf;

use oxiformers_core::Error;
use oxiformers_core::weights::{Dtype, Header, MappedFile, TensorSpec, Writer, read_shard_index};

/// A folder of this test's own, removed when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("oxiformers-core-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn spec(name: &str, dtype: Dtype, shape: &[u64]) -> TensorSpec {
    TensorSpec { name: name.to_owned(), dtype, shape: shape.to_vec() }
}

fn header_of(text: &str, data: usize) -> oxiformers_core::Result<Header> {
    let mut file = (text.len() as u64).to_le_bytes().to_vec();
    file.extend(text.as_bytes());
    file.resize(file.len() + data, 0);
    Header::read("crafted", &mut file.as_slice(), file.len() as u64)
}

fn place(result: oxiformers_core::Result<impl Sized>) -> String {
    match result {
        Ok(_) => "no error".to_owned(),
        Err(Error::Format { key, .. }) => key,
        Err(Error::Argument { name, .. }) => name,
        Err(other) => other.to_string(),
    }
}

#[test]
fn written_files_are_aligned_and_read_back() {
    let folder = Folder::new("round-trip");
    let path = folder.file("model.safetensors");
    let tensors = [
        spec("bytes", Dtype::U8, &[3]),
        spec("single", Dtype::F32, &[]),
        spec("empty", Dtype::F16, &[0, 7]),
        spec("long", Dtype::I64, &[2]),
        spec("half", Dtype::BF16, &[1]),
    ];
    let metadata = [("format".to_owned(), "pt".to_owned()), ("note".to_owned(), "\"ö\"\n".to_owned())];
    let mut writer = Writer::create(&path, &tensors, &metadata).unwrap();
    assert_eq!(writer.order(), [3, 1, 4, 2, 0]);
    for position in writer.order() {
        let size = tensors[position].dtype.byte_size(&tensors[position].shape).unwrap();
        writer.write(&vec![position as u8; size as usize]).unwrap();
    }
    writer.finish().unwrap();
    assert_eq!(folder.names(), ["model.safetensors"]);

    let file = MappedFile::open(&path).unwrap();
    let content = fs::read(&path).unwrap();
    assert_eq!(file.len(), content.len());
    assert_eq!(file.header().metadata, metadata);
    for (position, spec) in tensors.iter().enumerate() {
        let info = file.header().get(&spec.name).unwrap();
        assert_eq!((info.dtype, &info.shape), (spec.dtype, &spec.shape));
        assert_eq!(info.start % spec.dtype.bits().div_ceil(8), 0);
        assert!(content[info.start as usize..info.end as usize].iter().all(|&byte| byte == position as u8));
    }
}

#[test]
fn writes_to_the_mapping_never_reach_the_file() {
    let folder = Folder::new("private");
    let path = folder.file("model.safetensors");
    let mut writer = Writer::create(&path, &[spec("a", Dtype::U8, &[4])], &[]).unwrap();
    writer.write(&[1, 2, 3, 4]).unwrap();
    writer.finish().unwrap();
    let before = fs::read(&path).unwrap();
    {
        let file = MappedFile::open(&path).unwrap();
        let last = file.len() - 1;
        // SAFETY: the mapping is `file.len()` bytes long and lives until the end of this block.
        unsafe {
            file.as_mut_ptr().add(last).write(9);
            assert_eq!(file.as_mut_ptr().add(last).read(), 9);
        }
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_writer_that_is_given_up_leaves_the_old_file() {
    let folder = Folder::new("abandoned");
    let path = folder.file("model.safetensors");
    fs::write(&path, "old").unwrap();
    let tensors = [spec("a", Dtype::U8, &[2]), spec("b", Dtype::U8, &[2])];

    let mut writer = Writer::create(&path, &tensors, &[]).unwrap();
    writer.write(&[1, 2]).unwrap();
    assert_eq!(folder.names().len(), 2);
    assert_eq!(place(writer.write(&[1, 2, 3])), "entries");
    drop(writer);
    assert_eq!(folder.names(), ["model.safetensors"]);

    let mut writer = Writer::create(&path, &tensors, &[]).unwrap();
    writer.write(&[1, 2]).unwrap();
    assert_eq!(place(writer.finish()), "entries");
    assert_eq!(folder.names(), ["model.safetensors"]);
    assert_eq!(fs::read(&path).unwrap(), b"old");

    let mut writer = Writer::create(&path, &tensors, &[]).unwrap();
    writer.write(&[1, 2]).unwrap();
    writer.write(&[3, 4]).unwrap();
    assert_eq!(place(writer.write(&[])), "entries");
    writer.finish().unwrap();
    assert_eq!(MappedFile::open(&path).unwrap().header().tensors.len(), 2);
}

#[test]
fn headers_that_contradict_themselves_name_the_place() {
    let a = r#""a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}"#;
    for (text, data, key) in [
        (format!("{{{a}}}"), 2, "no error"),
        (format!("{{{a}}}   "), 2, "no error"),
        (r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2],"extra":[[{}]]}}"#.to_owned(), 2, "no error"),
        ("{}".to_owned(), 0, "no error"),
        (format!("{{{a}}}"), 1, "a.data_offsets"),
        (format!("{{{a}}}"), 3, "header"),
        (format!("{{{a}, {}}}", a.replace("\"a\"", "\"b\"")), 2, "b.data_offsets"),
        (format!("{{{a}, {}}}", a.replace("[0,2]", "[2,4]")), 4, "a"),
        (format!("{{{a}, {}}}", a.replace("\"a\"", "\"c\"").replace("[0,2]", "[3,5]")), 5, "c.data_offsets"),
        (a.replace("U8", "U7").replace("\"a\":", "{\"a\":") + "}", 2, "a.dtype"),
        (format!("{{{}}}", a.replace("[2]", "[3]")), 2, "a.data_offsets"),
    ] {
        assert_eq!(place(header_of(&text, data)), key, "{text} with {data} bytes");
    }
}

#[test]
fn every_truncation_of_a_file_is_refused() {
    let text = r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#;
    let mut file = (text.len() as u64).to_le_bytes().to_vec();
    file.extend(text.as_bytes());
    file.extend([1, 2]);
    assert!(Header::read("whole", &mut file.as_slice(), file.len() as u64).is_ok());
    for length in 0..file.len() {
        let cut = &file[..length];
        assert!(Header::read("cut", &mut &cut[..], length as u64).is_err(), "{length} bytes");
    }
}

#[test]
fn every_changed_byte_of_a_header_is_refused_or_read_in_bounds() {
    let a = r#""a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}"#;
    let b = r#""b":{"dtype":"F16","shape":[1],"data_offsets":[2,4]}"#;
    let text = format!("{{{a},{b}}}");
    let mut file = (text.len() as u64).to_le_bytes().to_vec();
    file.extend(text.as_bytes());
    file.extend([1, 2, 3, 4]);
    for place in 0..8 + text.len() {
        for value in 0..=255 {
            let mut changed = file.clone();
            changed[place] = value;
            let length = changed.len() as u64;
            if let Ok(header) = Header::read("changed", &mut changed.as_slice(), length) {
                assert!(
                    header.tensors.iter().all(|tensor| tensor.start <= tensor.end && tensor.end <= length)
                );
            }
        }
    }
}

#[test]
fn an_index_is_read_in_order() {
    let folder = Folder::new("index");
    let path = folder.file("model.safetensors.index.json");
    fs::write(
        &path,
        r#"{"metadata": {"total_size": 1}, "weight_map": {"b": "x", "a": "sub/y"}, "more": [[]]}"#,
    )
    .unwrap();
    let pairs = read_shard_index(&path).unwrap();
    assert_eq!(pairs, [("b".to_owned(), "x".to_owned()), ("a".to_owned(), "sub/y".to_owned())]);
    assert_eq!(
        place(read_shard_index(&folder.file("none"))),
        format!("{}: No such file or directory (os error 2)", folder.file("none"))
    );
}

#[test]
fn metadata_may_be_null() {
    let header = header_of(r#"{"__metadata__":null,"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 1);
    let header = header.unwrap();
    assert!(header.metadata.is_empty());
    assert_eq!(header.tensors.len(), 1);
    assert_eq!(header_of(r#"{"__metadata__": null }"#, 0).unwrap().tensors.len(), 0);
    assert_eq!(place(header_of(r#"{"__metadata__":null,"__metadata__":null}"#, 0)), "__metadata__");
    assert_eq!(place(header_of(r#"{"__metadata__":{"a":null}}"#, 0)), "__metadata__.a");
    assert_eq!(place(header_of(r#"{"a":null}"#, 0)), "a");
}
