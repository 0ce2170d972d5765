//! The catalogue on SQLite: the contract of every catalogue, and what a file adds to it.

use std::error::Error;
use std::fs;
use std::path::Path;

use reeltime::catalogue::{Catalogue, CatalogueError, Filter, NewRecording, Page, SqliteCatalogue};
use reeltime_core::id::RecordingId;
use reeltime_core::time::UtcMicros;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};
use tempfile::TempDir;
use uuid::Uuid;

type Outcome = Result<(), Box<dyn Error>>;

async fn make() -> Result<(TempDir, Box<dyn Catalogue>), Box<dyn Error>> {
    let folder = TempDir::new()?;
    let catalogue = SqliteCatalogue::open(folder.path().join("catalogue.db")).await?;
    Ok((folder, Box::new(catalogue)))
}

reeltime_testkit::catalogue_contract!(make);

fn recording(n: u128) -> NewRecording {
    let id = RecordingId(Uuid::from_u128(n));
    NewRecording { id, tenant: "default".to_owned(), call: "call".to_owned(), created_at: UtcMicros(1) }
}

/// Opens the file past the catalogue.
async fn raw(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new().filename(path).connect().await
}

#[tokio::test]
async fn what_was_answered_is_there_after_opening_again() -> Outcome {
    let folder = TempDir::new()?;
    let path = folder.path().join("catalogue.db");
    // Dropped without closing, as a crash would.
    SqliteCatalogue::open(&path).await?.begin(&recording(1)).await?;
    let catalogue = SqliteCatalogue::open(&path).await?;
    let listing = catalogue.list("default", &Filter::default(), Page { number: 1, size: 9 }).await?;
    assert_eq!(listing.items.first().map(|item| item.id), Some(recording(1).id));
    assert_eq!(listing.total, 1);
    Ok(())
}

#[tokio::test]
async fn the_file_is_in_wal_mode_and_every_table_is_strict_and_has_its_tenant() -> Outcome {
    let folder = TempDir::new()?;
    let path = folder.path().join("catalogue.db");
    SqliteCatalogue::open(&path).await?.close().await;
    let mut db = raw(&path).await?;
    let mode: String = sqlx::query("PRAGMA journal_mode").fetch_one(&mut db).await?.try_get(0)?;
    assert_eq!(mode, "wal");
    let tables = sqlx::query(
        "SELECT t.name, t.strict, EXISTS (SELECT 1 FROM pragma_table_info(t.name) WHERE name = 'tenant_id') AS tenant
         FROM pragma_table_list AS t WHERE t.schema = 'main' AND t.name NOT LIKE '%sql%' ORDER BY t.name",
    );
    let rows = tables.fetch_all(&mut db).await?;
    let seen: Vec<(String, bool, bool)> =
        rows.iter().map(|row| (row.get("name"), row.get("strict"), row.get("tenant"))).collect();
    // Nodes serve all tenants.
    let tables = [
        ("calls", true),
        ("claims", false),
        ("nodes", false),
        ("objects", true),
        ("recordings", true),
        ("segment_recordings", true),
        ("segments", true),
        ("upload_parts", true),
        ("uploads", true),
    ];
    let expected = tables.map(|(name, tenant)| (name.to_owned(), true, tenant));
    assert_eq!(seen, expected);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_a_file_and_each_write_is_there() -> Outcome {
    let folder = TempDir::new()?;
    let path = folder.path().join("catalogue.db");
    let both = [SqliteCatalogue::open(&path).await?, SqliteCatalogue::open(&path).await?];
    let writes = (0..200).map(|n| async move { (n, n % 2) });
    let writes = writes.map(|write| async {
        let (n, at) = write.await;
        both[at].begin(&recording(n as u128)).await
    });
    for written in futures_util::future::join_all(writes).await {
        written?;
    }
    for catalogue in &both {
        let listing = catalogue.list("default", &Filter::default(), Page { number: 1, size: 1 }).await?;
        assert_eq!(listing.total, 200);
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_no_catalogue_is_told_and_left_alone() -> Outcome {
    let folder = TempDir::new()?;
    let path = folder.path().join("catalogue.db");
    let garbage = b"this is a letter to my aunt, not a database. ".repeat(100);
    fs::write(&path, &garbage)?;
    let error = SqliteCatalogue::open(&path).await.unwrap_err();
    assert_eq!(error, CatalogueError::Corrupt { path: path.clone() });
    assert!(error.to_string().contains("restore a backup"), "{error}");
    assert!(fs::read(&path)? == garbage);
    Ok(())
}

#[tokio::test]
async fn a_folder_that_is_missing_is_told() -> Outcome {
    let folder = TempDir::new()?;
    let path = folder.path().join("missing/catalogue.db");
    let error = SqliteCatalogue::open(&path).await.unwrap_err();
    assert_eq!(error, CatalogueError::Unwritable { path });
    Ok(())
}

#[tokio::test]
async fn a_file_that_another_process_holds_is_told() -> Outcome {
    let folder = TempDir::new()?;
    let path = folder.path().join("catalogue.db");
    let catalogue = SqliteCatalogue::open(&path).await?;
    let mut other = raw(&path).await?;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await?;
    assert_eq!(catalogue.begin(&recording(1)).await, Err(CatalogueError::Locked { path }));
    sqlx::query("ROLLBACK").execute(&mut other).await?;
    catalogue.begin(&recording(1)).await?;
    Ok(())
}

#[tokio::test]
async fn a_file_of_a_later_version_is_told() -> Outcome {
    let folder = TempDir::new()?;
    let path = folder.path().join("catalogue.db");
    SqliteCatalogue::open(&path).await?.close().await;
    let mut db = raw(&path).await?;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'later', 1, x'00', 0)",
    )
    .execute(&mut db)
    .await?;
    db.close().await?;
    let error = SqliteCatalogue::open(&path).await.unwrap_err();
    assert_eq!(error, CatalogueError::Newer { path });
    Ok(())
}

#[tokio::test]
async fn no_error_tells_a_value_or_a_statement() -> Outcome {
    let folder = TempDir::new()?;
    let path = folder.path().join("catalogue.db");
    let catalogue = SqliteCatalogue::open(&path).await?;
    let mut db = raw(&path).await?;
    sqlx::query("DROP TABLE calls").execute(&mut db).await?;
    let secret = NewRecording { call: "a secret name".to_owned(), ..recording(1) };
    let error = catalogue.begin(&secret).await.unwrap_err();
    let texts = format!("{error} {error:?}");
    assert!(matches!(error, CatalogueError::Database { .. }), "{texts}");
    assert!(!texts.contains("secret") && !texts.contains("INSERT") && !texts.contains("calls"), "{texts}");
    Ok(())
}
