// Written by web/build.mjs.
const INDEX: &str = include_str!("index.html");
static ASSETS: [Asset; 4] = [
    Asset { name: "icon.svg", bytes: include_bytes!("icon.svg") },
    Asset { name: "main-RUWXMLIX.css", bytes: include_bytes!("main-RUWXMLIX.css") },
    Asset { name: "main-WUM3CKX5.js", bytes: include_bytes!("main-WUM3CKX5.js") },
    Asset { name: "worklet-EU2RFYQN.js", bytes: include_bytes!("worklet-EU2RFYQN.js") },
];
