//! One store inside another: keys below a prefix lie elsewhere.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reeltime_core::keys::ObjectKey;

use super::{ByteStream, ObjectMeta, PartStore, Signed, Store, StoreError};

/// A store whose keys below `prefix/` lie, without that prefix, in another store.
#[derive(Debug)]
pub struct MountedStore {
    main: Arc<dyn Store>,
    prefix: String,
    mounted: Arc<dyn Store>,
}

impl MountedStore {
    /// Puts `mounted` below `prefix` (a single component) of `main`.
    pub fn new(main: Arc<dyn Store>, prefix: &str, mounted: Arc<dyn Store>) -> Self {
        Self { main, prefix: format!("{prefix}/"), mounted }
    }

    /// The store that has `key`, and its key there.
    fn at<'a>(&'a self, key: &ObjectKey) -> (&'a dyn Store, ObjectKey) {
        match key.as_str().strip_prefix(&self.prefix).map(ObjectKey::new) {
            Some(Ok(inner)) => (&*self.mounted, inner),
            Some(Err(_)) | None => (&*self.main, key.clone()),
        }
    }
}

#[async_trait]
impl Store for MountedStore {
    async fn put(&self, key: &ObjectKey, body: ByteStream) -> Result<ObjectMeta, StoreError> {
        let (store, inner) = self.at(key);
        let meta = store.put(&inner, body).await?;
        Ok(ObjectMeta { key: key.clone(), ..meta })
    }

    async fn put_free(&self, key: &ObjectKey, body: ByteStream) -> Result<ObjectMeta, StoreError> {
        let (store, inner) = self.at(key);
        let meta = store.put_free(&inner, body).await?;
        Ok(ObjectMeta { key: key.clone(), ..meta })
    }

    async fn adopt(&self, key: &ObjectKey, file: &Path) -> Result<Option<ObjectMeta>, StoreError> {
        let (store, inner) = self.at(key);
        let meta = store.adopt(&inner, file).await?;
        Ok(meta.map(|meta| ObjectMeta { key: key.clone(), ..meta }))
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ByteStream, StoreError> {
        let (store, inner) = self.at(key);
        store.get(&inner, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        let (store, inner) = self.at(key);
        let meta = store.head(&inner).await?;
        Ok(meta.map(|meta| ObjectMeta { key: key.clone(), ..meta }))
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let (store, inner) = self.at(key);
        store.delete(&inner).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let mut objects = self.main.list(prefix).await?;
        if let Some(inner) =
            prefix.strip_prefix(&self.prefix).or_else(|| self.prefix.starts_with(prefix).then_some(""))
        {
            let renamed = |meta: ObjectMeta| {
                let key = ObjectKey::new(format!("{}{}", self.prefix, meta.key.as_str())).ok()?;
                Some(ObjectMeta { key, ..meta })
            };
            objects.extend(self.mounted.list(inner).await?.into_iter().filter_map(renamed));
            objects.sort_by(|a, b| a.key.cmp(&b.key));
        }
        Ok(objects)
    }

    fn is_remote(&self) -> bool {
        self.main.is_remote()
    }

    async fn honours_conditions(&self, key: &ObjectKey) -> Result<Option<bool>, StoreError> {
        let (store, inner) = self.at(key);
        store.honours_conditions(&inner).await
    }

    fn place(&self) -> String {
        self.main.place()
    }

    fn parts(&self, key: &ObjectKey) -> Option<(&dyn PartStore, ObjectKey)> {
        let (store, inner) = self.at(key);
        store.parts(&inner)
    }

    async fn sign(
        &self,
        what: Signed,
        key: &ObjectKey,
        valid: Duration,
    ) -> Result<Option<String>, StoreError> {
        let (store, inner) = self.at(key);
        store.sign(what, &inner, valid).await
    }
}
