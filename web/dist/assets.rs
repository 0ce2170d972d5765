// Written by web/build.mjs.
const INDEX: &str = include_str!("index.html");
static ASSETS: [Asset; 4] = [
    Asset { name: "icon.svg", bytes: include_bytes!("icon.svg") },
    Asset { name: "main-LD2QIHK5.js", bytes: include_bytes!("main-LD2QIHK5.js") },
    Asset { name: "main-ZSR57YJV.css", bytes: include_bytes!("main-ZSR57YJV.css") },
    Asset { name: "worklet-EU2RFYQN.js", bytes: include_bytes!("worklet-EU2RFYQN.js") },
];
