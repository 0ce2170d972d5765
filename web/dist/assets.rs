// Written by web/build.mjs.
const INDEX: &str = include_str!("index.html");
static ASSETS: [Asset; 4] = [
    Asset { name: "icon.svg", bytes: include_bytes!("icon.svg") },
    Asset { name: "main-GKSYNLET.css", bytes: include_bytes!("main-GKSYNLET.css") },
    Asset { name: "main-HZL5FN2U.js", bytes: include_bytes!("main-HZL5FN2U.js") },
    Asset { name: "worklet-EU2RFYQN.js", bytes: include_bytes!("worklet-EU2RFYQN.js") },
];
