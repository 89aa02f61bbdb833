//! demo-archive: creates a docker-archive with layers and tags from files.

use loader_testkit::archive::{ImageSpec, docker_archive};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Example:
  demo-archive demo/app:1.4,demo/app:latest=README.md,Cargo.lock demo/model:2=README.md,LICENSE-MIT > app.tar";

/// Create a docker-archive from files without an engine, with one layer per file
#[derive(clap::Parser)]
#[command(name = "demo-archive", version, after_help = EXAMPLES)]
struct Cli {
    /// ImageSpec: its tags and the files of its layers
    #[arg(value_name = "TAG,...=FILE,...", required = true)]
    images: Vec<String>,
}

fn main() -> ExitCode {
    match run(&<Cli as clap::Parser>::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "demo-archive: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> io::Result<()> {
    let images = cli.images.iter().map(|spec| image(spec)).collect::<io::Result<Vec<_>>>()?;
    let mut output = BufWriter::new(io::stdout().lock());
    docker_archive(&images, &mut output)?;
    output.flush()
}

fn image(spec: &str) -> io::Result<ImageSpec> {
    let (tags, files) = spec
        .split_once('=')
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{spec}: expected TAG,...=FILE,...")))?;
    let layer = |file: &str| {
        let path = PathBuf::from(file);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let content = std::fs::read(&path).map_err(|error| io::Error::new(error.kind(), format!("{file}: {error}")))?;
        Ok(vec![(format!("opt/demo/{name}"), content)])
    };
    Ok(ImageSpec {
        tags: tags.split(',').map(str::to_owned).collect(),
        layers: files.split(',').map(layer).collect::<io::Result<_>>()?,
    })
}
