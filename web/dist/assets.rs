// Written by web/build.mjs.
const INDEX: &str = include_str!("index.html");
static ASSETS: [Asset; 4] = [
    Asset { name: "icon.svg", bytes: include_bytes!("icon.svg") },
    Asset { name: "main-BZF6ZMLT.js", bytes: include_bytes!("main-BZF6ZMLT.js") },
    Asset { name: "main-RHE4TKDP.css", bytes: include_bytes!("main-RHE4TKDP.css") },
    Asset { name: "worklet-EU2RFYQN.js", bytes: include_bytes!("worklet-EU2RFYQN.js") },
];
