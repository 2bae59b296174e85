//! Pictures, settings in them, and files of jobs.

use std::io::{self, ErrorKind};

use emberbrush_pipeline::{
    batch::{GridError, JobError, PatternError, PlanError},
    metadata::SettingsError,
    output::OutputError,
    picture::PictureError,
};

use super::{Argument, Explain, Explanation};

/// What the system says about a file or a folder.
pub(super) fn cause(error: &io::Error) -> Explanation {
    match error.kind() {
        ErrorKind::NotFound => Explanation::new("cause-missing"),
        ErrorKind::PermissionDenied => Explanation::new("cause-denied"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Explanation::new("cause-full"),
        ErrorKind::ReadOnlyFilesystem => Explanation::new("cause-read-only"),
        ErrorKind::AlreadyExists => Explanation::new("cause-exists"),
        ErrorKind::IsADirectory | ErrorKind::NotADirectory => Explanation::new("cause-kind"),
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData => Explanation::new("cause-damaged"),
        _ => Explanation::new("cause-system"),
    }
}

pub(super) fn read(path: impl Into<Argument>, source: &io::Error) -> Explanation {
    Explanation::new("error-read").with("path", path).with("cause", cause(source))
}

pub(super) fn write(path: impl Into<Argument>, source: &io::Error) -> Explanation {
    Explanation::new("error-write").with("path", path).with("cause", cause(source))
}

impl Explain for PictureError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Io { path, source } => read(path, source),
            Self::Format { path } => Explanation::new("error-picture-format").with("path", path),
            Self::Broken { path, .. } => {
                Explanation::new("error-picture-damaged").with("path", path)
            }
            Self::TooLarge { path, width, height, most } => {
                Explanation::new("error-picture-too-large")
                    .with("path", path)
                    .with("width", *width)
                    .with("height", *height)
                    .with("most", *most)
            }
            Self::MaskSize { mask_width, mask_height, width, height } => {
                Explanation::new("error-mask-size")
                    .with("mask_width", *mask_width)
                    .with("mask_height", *mask_height)
                    .with("width", *width)
                    .with("height", *height)
            }
            Self::EmptyMask => Explanation::new("error-mask-empty"),
            Self::MaskCropped => Explanation::new("error-mask-cropped"),
            Self::Encoding { format, .. } => {
                Explanation::new("error-encoding").with("format", *format)
            }
        }
    }
}

impl Explain for OutputError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Io { path, source } => write(path, source),
            Self::Encoding { .. } => Explanation::new("error-encoding").with("format", "PNG"),
            Self::Format { path } => Explanation::new("error-output-format").with("path", path),
            Self::Taken { path } => Explanation::new("error-output-taken").with("path", path),
        }
    }
}

impl Explain for SettingsError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Io { path, source } => read(path, source),
            Self::NotAnImage { path, .. } => {
                Explanation::new("error-picture-format").with("path", path)
            }
            Self::None { path, .. } => Explanation::new("error-no-settings").with("path", path),
        }
    }
}

impl Explain for JobError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Io { path, source } => read(path, source),
            Self::Kind { path } => Explanation::new("error-jobs-kind").with("path", path),
            Self::Line { path, line, .. } => {
                Explanation::new("error-jobs-line").with("path", path).with("line", *line)
            }
            Self::Empty { path } => Explanation::new("error-jobs-empty").with("path", path),
        }
    }
}

impl Explain for PlanError {
    fn explain(&self) -> Explanation {
        let of_line = |line: usize, reason: Explanation| {
            Explanation::new("error-line").with("line", line).with("cause", reason)
        };
        match self {
            Self::Fields { line, source } => of_line(*line, source.explain()),
            Self::Request { line, source } => of_line(*line, source.explain()),
            Self::Prompt { line, source } => of_line(*line, source.explain()),
            Self::TooMany { line } => of_line(*line, Explanation::new("error-too-many-pictures")),
        }
    }
}

impl Explain for GridError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Axis(_) => Explanation::new("error-axis"),
            Self::TooMany(count) => Explanation::new("error-axis-too-many").with("count", *count),
            Self::Same(_) => Explanation::new("error-axis-same"),
            Self::TooLarge(width, height) => Explanation::new("error-sheet-too-large")
                .with("width", *width)
                .with("height", *height),
        }
    }
}

impl Explain for PatternError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Unknown(field) => {
                Explanation::new("error-pattern-field").with("field", &format!("{{{field}}}"))
            }
            Self::Open => Explanation::new("error-pattern-open"),
        }
    }
}
