// A Kotlin program on the JVM, on the bindings that uniffi makes: two devices of one learner, offline and back.

import dev.marea.ChangeListener
import dev.marea.Marea
import dev.marea.MareaException
import dev.marea.OpenOptions
import dev.marea.SessionInput
import dev.marea.TokenSource
import dev.marea.Topic
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.runBlocking

fun variable(name: String): String = System.getenv(name) ?: error("$name is missing")

fun options(dir: String, online: Boolean) = OpenOptions(
    dir = dir,
    userId = variable("MAREA_USER"),
    url = variable("MAREA_URL"),
    publishableKey = variable("MAREA_KEY"),
    schema = variable("MAREA_SCHEMA"),
    online = online,
)

object Tokens : TokenSource {
    override fun accessToken(fresh: Boolean): String? = variable("MAREA_TOKEN")
}

class Heard : ChangeListener {
    val progress = CountDownLatch(1)
    override fun changed(topics: List<Topic>) {
        if (topics.any { it is Topic.Table && it.name == "user_progress" }) progress.countDown()
    }
}

suspend fun codeOf(call: suspend () -> Unit): String = try {
    call()
    "none"
} catch (refused: MareaException.Failed) {
    check(!refused.reason.contains("sk-"))
    refused.code
}

fun main() = runBlocking {
    val heard = Heard()
    val phone = Marea.open(options(variable("MAREA_DIR") + "/phone", online = false), Tokens, heard)
    val made = (1..20).map { async { phone.recordSession(SessionInput(sessionType = "qa", durationMinutes = 2)).id } }.awaitAll()
    check(made.toSet().size == 20)
    check(heard.progress.await(10, TimeUnit.SECONDS)) { "nobody told of the progress" }
    check(phone.progress().totalSessions == 20L)
    check(phone.status().let { it.pending == 20u && it.paused })

    val list = phone.insert("word_lists", """{"title": "Animals"}""").key
    phone.update("word_lists", list, """{"position": 3}""")
    check(phone.row("word_lists", list)!!.contains("\"position\":3"))
    check(phone.count("word_lists", "{}") == 1uL)
    check(phone.query("SELECT title FROM word_lists WHERE position > ?1", "[2]").contains("Animals"))

    phone.keysSetUp("orbit velvet canoe drum")
    phone.keysPut("openai", "sk-proj-0123456789abca1B2")
    check(String(phone.keysOpen("openai")) == "sk-proj-0123456789abca1B2")
    phone.keysLock()

    println(
        listOf(
            codeOf { phone.keysOpen("openai") },
            codeOf { phone.recordSession(SessionInput(sessionType = "")) },
            codeOf { phone.insert("nowhere", "{}") },
            codeOf { phone.insert("word_lists", "sk-no object") },
            codeOf { phone.query("DELETE FROM word_lists", "[]") },
            codeOf { Marea.open(options("/dev/null/x", false), Tokens, null) },
        ).joinToString(" "),
    )

    phone.setOnline(true)
    check(phone.sync().outcome == "done")
    val laptop = Marea.open(options(variable("MAREA_DIR") + "/laptop", online = true), Tokens, null)
    check(laptop.sync().outcome == "done")
    check(laptop.progress().totalSessions == 20L && laptop.count("word_lists", "{}") == 1uL)
    check(laptop.erase() == 0u)
    phone.shutDown()
    println(codeOf { phone.progress() })
}
