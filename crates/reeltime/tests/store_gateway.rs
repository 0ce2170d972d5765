//! The S3 store on a server of other people.

use std::error::Error;

use reeltime::store::Store;
use reeltime_testkit::gateway::Gateway;

mod objects {
    use super::*;

    async fn make() -> Result<(Gateway, Box<dyn Store>), Box<dyn Error>> {
        let gateway = Gateway::start().await?;
        let store = Box::new(gateway.store()?);
        Ok((gateway, store))
    }

    reeltime_testkit::store_contract!(remote make);
}

mod in_parts {
    use super::*;

    async fn make() -> Result<(Gateway, Box<[Box<dyn Store>; 2]>), Box<dyn Error>> {
        let gateway = Gateway::start().await?;
        let clients: [Box<dyn Store>; 2] = [Box::new(gateway.store()?), Box::new(gateway.store()?)];
        Ok((gateway, Box::new(clients)))
    }

    reeltime_testkit::parts_contract!(make);
}
