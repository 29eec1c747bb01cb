//! The miss-ratio curve as a picture.
//!
//! Owns: files of pictures. `chart` says what is drawn, whoever draws it; `canvas` draws in pixels,
//! with letters of its own, so that no machine needs fonts for it.

mod canvas;
mod chart;

use std::convert::Infallible;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use plotters::prelude::SVGBackend;

use crate::output::{Failure, printable};
use crate::replay::plot::canvas::Canvas;
use crate::replay::plot::chart::{Chart, HEIGHT, WIDTH};
use crate::replay::report::Report;

/// A picture that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlotFile {
    path: PathBuf,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Svg,
    Png,
}

/// A file whose name does not say what it shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a picture's name ends in .svg or .png")]
pub(crate) struct NoPicture;

impl PlotFile {
    /// The name says what it shall be.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn new(path: PathBuf) -> Result<Self, NoPicture> {
        let extension = path
            .extension()
            .map(|extension| extension.to_ascii_lowercase());
        let form = match extension.as_ref().and_then(|extension| extension.to_str()) {
            Some("svg") => Form::Svg,
            Some("png") => Form::Png,
            _ => return Err(NoPicture),
        };
        Ok(PlotFile { path, form })
    }

    /// Looks whether it will be possible to write it: better before the work than after.
    ///
    /// # Errors
    /// It is not.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.path.is_dir() {
            return Err(self.failure("it is a directory"));
        }
        match tempfile::tempfile_in(self.directory()) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failure(error)),
        }
    }

    /// Draws it, beside its place, and then puts it there: whoever looks sees a whole picture or none.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn draw(&self, report: &Report) -> Result<(), Failure> {
        let chart = Chart::of(report);
        let picture = match self.form {
            Form::Svg => svg(&chart),
            Form::Png => png(&chart),
        };
        let picture = picture.map_err(|error| self.failure(error))?;
        // Readable by whom the user lets read other files.
        let file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(self.directory());
        let mut file = file.map_err(|error| self.failure(error))?;
        file.write_all(&picture)
            .map_err(|error| self.failure(error))?;
        file.persist(&self.path)
            .map_err(|error| self.failure(error.error))?;
        Ok(())
    }

    fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        }
    }

    fn failure(&self, why: impl std::fmt::Display) -> Failure {
        let path = printable(&self.path.to_string_lossy());
        format!("cannot write the picture {path}: {why}").into()
    }
}

fn svg(chart: &Chart) -> Result<Vec<u8>, Failure> {
    let mut text = String::new();
    let backend = SVGBackend::with_string(&mut text, (WIDTH, HEIGHT));
    chart
        .draw(backend, 1)
        .map_err(|error| Failure::from(error.to_string()))?;
    Ok(text.into_bytes())
}

fn png(chart: &Chart) -> Result<Vec<u8>, Failure> {
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    let drawn: Result<(), chart::Error<Infallible>> = chart.draw(&mut canvas, canvas::FINENESS);
    drawn.map_err(|error| Failure::from(error.to_string()))?;
    let mut bytes = std::io::Cursor::new(Vec::new());
    canvas
        .finish()
        .write_to(&mut bytes, image::ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_the_picture_is() {
        let form = |name: &str| PlotFile::new(name.into()).map(|file| file.form);
        assert_eq!(form("a.svg"), Ok(Form::Svg));
        assert_eq!(form("dir.d/A.PNG"), Ok(Form::Png));
        for name in ["", "svg", ".png", "a.pdf", "a.svg/", "dir.svg/a", "a.svgz"] {
            let expected = match name {
                // the same path
                "a.svg/" => Ok(Form::Svg),
                _ => Err(NoPicture),
            };
            assert_eq!(form(name), expected, "{name:?}");
        }
    }
}
