// Written by web/build.mjs.
const INDEX: &str = include_str!("index.html");
static ASSETS: [Asset; 4] = [
    Asset { name: "icon.svg", bytes: include_bytes!("icon.svg") },
    Asset { name: "main-JNRI6HDF.css", bytes: include_bytes!("main-JNRI6HDF.css") },
    Asset { name: "main-JNYND6WO.js", bytes: include_bytes!("main-JNYND6WO.js") },
    Asset { name: "worklet-EU2RFYQN.js", bytes: include_bytes!("worklet-EU2RFYQN.js") },
];
