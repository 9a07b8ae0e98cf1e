/**
 * Where conversations are kept: the browser's database, and nowhere else. Each message is a record of its own, so that an
 * answer that grows is cheap to keep.
 *
 * Where a browser gives no database, the same is kept in memory, and the page says so.
 */

const NAME = "bantam";
const VERSION = 1;

/** Opens the database, or what stands in for it. */
export async function openStore() {
  try {
    return new DiskStore(await openDatabase());
  } catch {
    return new MemoryStore();
  }
}

function openDatabase() {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(NAME, VERSION);
    opening.onupgradeneeded = () => {
      const database = opening.result;
      database.createObjectStore("conversations", { keyPath: "id" });
      database.createObjectStore("messages", { keyPath: "id" }).createIndex("conversation", "conversation");
      database.createObjectStore("settings");
    };
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
    opening.onblocked = () => reject(new Error("another tab holds an older database"));
  });
}

class DiskStore {
  /** Whether what is kept is there when the page is opened again. */
  isLasting = true;

  constructor(database) {
    this.database = database;
    database.onversionchange = () => database.close();
  }

  /** All conversations without their messages. */
  async conversations() {
    return this.#read("conversations", (store) => store.getAll());
  }

  /** The messages of a conversation. */
  async messages(conversation) {
    return this.#read("messages", (store) => store.index("conversation").getAll(conversation));
  }

  /** All messages of all conversations. */
  async allMessages() {
    return this.#read("messages", (store) => store.getAll());
  }

  async setting(name) {
    return this.#read("settings", (store) => store.get(name));
  }

  async keepSetting(name, value) {
    await this.#write(["settings"], (transaction) => transaction.objectStore("settings").put(value, name));
  }

  /** Keeps a conversation and some of its messages. */
  async keep(about, messages = []) {
    await this.#write(["conversations", "messages"], (transaction) => {
      transaction.objectStore("conversations").put(about);
      for (const message of messages) transaction.objectStore("messages").put(message);
    });
  }

  async forgetMessages(ids) {
    await this.#write(["messages"], (transaction) => {
      for (const id of ids) transaction.objectStore("messages").delete(id);
    });
  }

  async forget(conversation) {
    const messages = await this.messages(conversation);
    await this.forgetMessages(messages.map((message) => message.id));
    await this.#write(["conversations"], (transaction) =>
      transaction.objectStore("conversations").delete(conversation),
    );
  }

  #read(name, ask) {
    return new Promise((resolve, reject) => {
      const request = ask(this.database.transaction(name).objectStore(name));
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  }

  #write(names, work) {
    return new Promise((resolve, reject) => {
      const transaction = this.database.transaction(names, "readwrite");
      transaction.oncomplete = () => resolve();
      transaction.onerror = () => reject(transaction.error);
      transaction.onabort = () => reject(transaction.error);
      work(transaction);
    });
  }
}

/** The same, until the tab is closed. */
export class MemoryStore {
  isLasting = false;
  #conversations = new Map();
  #messages = new Map();
  #settings = new Map();

  async conversations() {
    return [...this.#conversations.values()];
  }

  async messages(conversation) {
    return [...this.#messages.values()].filter((message) => message.conversation === conversation);
  }

  async allMessages() {
    return [...this.#messages.values()];
  }

  async setting(name) {
    return this.#settings.get(name);
  }

  async keepSetting(name, value) {
    this.#settings.set(name, value);
  }

  async keep(about, messages = []) {
    this.#conversations.set(about.id, about);
    for (const message of messages) this.#messages.set(message.id, message);
  }

  async forgetMessages(ids) {
    for (const id of ids) this.#messages.delete(id);
  }

  async forget(conversation) {
    for (const message of await this.messages(conversation)) this.#messages.delete(message.id);
    this.#conversations.delete(conversation);
  }
}
