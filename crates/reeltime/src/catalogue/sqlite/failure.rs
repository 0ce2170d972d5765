//! From what the database says to what a person can use.

use std::path::Path;

use sqlx::migrate::MigrateError;

use crate::catalogue::CatalogueError;

/// Why a query came to nothing: the database failed, or the catalogue's own rules forbid it.
#[derive(Debug)]
pub(super) enum Failure {
    Database(sqlx::Error),
    /// Made by a later version.
    Newer,
    Refused(CatalogueError),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<CatalogueError> for Failure {
    fn from(error: CatalogueError) -> Self {
        Self::Refused(error)
    }
}

impl From<MigrateError> for Failure {
    fn from(error: MigrateError) -> Self {
        if matches!(error, MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_)) {
            return Self::Newer;
        }
        if let MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) = error {
            return Self::Database(error);
        }
        Self::Database(sqlx::Error::Configuration(error.into()))
    }
}

impl Failure {
    /// The error for outside. The database's own texts are left out: they may hold values.
    pub(super) fn explain(self, path: &Path) -> CatalogueError {
        let path = path.to_owned();
        let error = match self {
            Self::Refused(error) => return error,
            Self::Newer => return CatalogueError::Newer { path },
            Self::Database(error) => error,
        };
        if matches!(error, sqlx::Error::PoolClosed) {
            return CatalogueError::Closed;
        }
        // The low byte is the primary result code: https://www.sqlite.org/rescode.html
        match code(&error).map(|code| code & 0xff) {
            Some(5 | 6) => CatalogueError::Locked { path },
            Some(11 | 26) => CatalogueError::Corrupt { path },
            Some(3 | 8 | 14 | 23) => CatalogueError::Unwritable { path },
            Some(13) => CatalogueError::Full { path },
            Some(_) | None => CatalogueError::Database { path, code: describe(&error) },
        }
    }
}

fn code(error: &sqlx::Error) -> Option<u32> {
    error.as_database_error()?.code()?.parse().ok()
}

fn describe(error: &sqlx::Error) -> String {
    if let Some(code) = code(error) {
        return format!("SQLite result code {code}");
    }
    let kinds = [
        (matches!(error, sqlx::Error::PoolTimedOut), "no connection became free in time"),
        (matches!(error, sqlx::Error::WorkerCrashed), "its thread ended"),
        (matches!(error, sqlx::Error::Io(_)), "input or output"),
        (matches!(error, sqlx::Error::Configuration(_)), "its migrations"),
    ];
    let kind = kinds.iter().find(|(is, _)| *is).map_or("an answer that cannot be read", |(_, kind)| kind);
    kind.to_owned()
}
