//! Contract suites: what every implementation of a trait does, written once and run on each.

pub mod catalogue;
pub mod chance;
pub mod disk;
pub mod gateway;
pub mod parts;
pub mod remote;
pub mod s3;
pub mod store;
pub mod voice;

/// Makes one `#[tokio::test]` of each named behaviour in a suite of this crate.
#[doc(hidden)]
#[macro_export]
macro_rules! each_behaviour {
    ($make:path, $suite:ident: $($name:ident),* $(,)?) => { $(
        #[tokio::test]
        async fn $name() -> Result<(), Box<dyn std::error::Error>> {
            let (_guard, subject) = $make().await?;
            $crate::$suite::$name(&*subject).await
        }
    )* };
}
