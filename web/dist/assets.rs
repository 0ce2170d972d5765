// Written by web/build.mjs.
const INDEX: &str = include_str!("index.html");
static ASSETS: [Asset; 4] = [
    Asset { name: "icon.svg", bytes: include_bytes!("icon.svg") },
    Asset { name: "main-A3V32RGC.css", bytes: include_bytes!("main-A3V32RGC.css") },
    Asset { name: "main-LWCO5N7C.js", bytes: include_bytes!("main-LWCO5N7C.js") },
    Asset { name: "worklet-EU2RFYQN.js", bytes: include_bytes!("worklet-EU2RFYQN.js") },
];
