// Written by web/build.mjs.
const INDEX: &str = include_str!("index.html");
static ASSETS: [Asset; 4] = [
    Asset { name: "icon.svg", bytes: include_bytes!("icon.svg") },
    Asset { name: "main-FLNYMZXG.js", bytes: include_bytes!("main-FLNYMZXG.js") },
    Asset { name: "main-PGMWNBBQ.css", bytes: include_bytes!("main-PGMWNBBQ.css") },
    Asset { name: "worklet-EU2RFYQN.js", bytes: include_bytes!("worklet-EU2RFYQN.js") },
];
