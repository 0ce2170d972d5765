// Written by web/build.mjs.
const INDEX: &str = include_str!("index.html");
static ASSETS: [Asset; 4] = [
    Asset { name: "icon.svg", bytes: include_bytes!("icon.svg") },
    Asset { name: "main-LRHMDRKL.css", bytes: include_bytes!("main-LRHMDRKL.css") },
    Asset { name: "main-P4F5EZZB.js", bytes: include_bytes!("main-P4F5EZZB.js") },
    Asset { name: "worklet-EU2RFYQN.js", bytes: include_bytes!("worklet-EU2RFYQN.js") },
];
