
// Appended by xtask/src/wasm/finish.rs. A fault of the engine is a trap, which leaves the module through whatever JavaScript called of
// it: a call of ours, a timer, a promise. Of that, a promise's reaches no caller.
let engineStopped

/** Has `listener` told when the engine stops. It must call nothing of this module. */
export function onEngineStopped(listener) {
    engineStopped = listener
}

function watched(exports) {
    let told = false
    const watch = (call) => (...given) => {
        try {
            return call(...given)
        } catch (error) {
            if (!told && error instanceof WebAssembly.RuntimeError) {
                told = true
                // The places in the code, and nothing else: what a stack says beside is the app's business.
                const places = String(error.stack).match(/wasm-function\[\d+\](?::0x[\da-f]+)?/g) ?? []
                console.error(`marea: the engine stopped at ${places.slice(0, 8).join(' ')}; and is started again`)
                engineStopped?.()
            }
            throw error
        }
    }
    return Object.fromEntries(
        Object.entries(exports).map(([name, value]) => [name, typeof value === 'function' ? watch(value) : value]),
    )
}
