//! The system's own notification that pictures are done.

/// Shows a title and a line to a person who looks elsewhere.
pub type Notify = Box<dyn Fn(&str, &str)>;

/// Notifications as the desktop shows them. Where there are none, the window's button in the taskbar asks for
/// attention, which the window does everywhere.
pub(super) fn of_the_system() -> Notify {
    #[cfg(target_os = "linux")]
    return Box::new(linux::notify);
    #[cfg(not(target_os = "linux"))]
    return Box::new(|_, _| {});
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{collections::HashMap, thread};

    use zbus::zvariant::Value;

    const SERVICE: &str = "org.freedesktop.Notifications";

    pub(super) fn notify(title: &str, text: &str) {
        let (title, text) = (title.to_owned(), text.to_owned());
        // The bus may be slow to answer, and without one there is nobody to tell.
        let _ = thread::Builder::new().name("notification".to_owned()).spawn(move || {
            let _ = pollster::block_on(send(&title, &text));
        });
    }

    async fn send(title: &str, text: &str) -> zbus::Result<()> {
        // A bus at an address of the network is none of this desktop.
        let is_local = std::env::var("DBUS_SESSION_BUS_ADDRESS")
            .map_or(true, |address| address.starts_with("unix:"));
        if !is_local {
            return Ok(());
        }
        let bus = zbus::Connection::session().await?;
        let hints: HashMap<&str, Value<'_>> = HashMap::new();
        let actions: &[&str] = &[];
        let message = ("Emberbrush", 0_u32, "emberbrush", title, text, actions, hints, -1_i32);
        let path = "/org/freedesktop/Notifications";
        bus.call_method(Some(SERVICE), path, Some(SERVICE), "Notify", &message).await?;
        Ok(())
    }
}
