// Written by web/build.mjs.
const INDEX: &str = include_str!("index.html");
static ASSETS: [Asset; 4] = [
    Asset { name: "icon.svg", bytes: include_bytes!("icon.svg") },
    Asset { name: "main-A7NGAER6.js", bytes: include_bytes!("main-A7NGAER6.js") },
    Asset { name: "main-GKSYNLET.css", bytes: include_bytes!("main-GKSYNLET.css") },
    Asset { name: "worklet-EU2RFYQN.js", bytes: include_bytes!("worklet-EU2RFYQN.js") },
];
