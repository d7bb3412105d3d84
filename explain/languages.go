package explain

import "strings"

// english turns what programs say in another language into what they say in English,
// so that the patterns need one language. The words are those of the programs' own
// translations.
var english = strings.NewReplacer(translations...)

var translations = []string{

	// FileZilla.
	"Antwort:", "Response:", "Réponse :", "Response:",
	"Herstellen der Verbindung zum Server fehlgeschlagen", "Could not connect to server",
	"Impossible d'établir une connexion au serveur", "Could not connect to server",
	"Zeitüberschreitung der Verbindung", "Connection timed out",
	"Connection interrompue après", "Connection timed out after",
	"Connexion interrompue après", "Connection timed out after",
	"Délai d'attente expiré", "Connection timed out",
	"Verzeichnisinhalt konnte nicht empfangen werden", "Failed to retrieve directory listing",
	"Impossible de récupérer le contenu du dossier", "Failed to retrieve directory listing",
	"Kann keine FTP-Verbindung zu einem SFTP-Server aufbauen", "Cannot establish FTP connection to an SFTP server",
	"Impossible d'établir une connexion FTP à un serveur SFTP", "Cannot establish FTP connection to an SFTP server",
	"Vom Server gesendete Adresse für den Passiv-Modus ist nicht routingfähig", "Server sent passive reply with unroutable address",
	"Le serveur a envoyé une réponse passive avec une adresse non routable", "Server sent passive reply with unroutable address",
	"Die Datenverbindung konnte nicht hergestellt werden", "The data connection could not be established",
	"Les données de connexion ne peuvent pas être établies :", "The data connection could not be established:",
	"Unsicherer Server; er unterstützt kein FTP über TLS", "Insecure server, it does not support FTP over TLS",
	"Serveur non sécurisé, celui-ci ne prend pas en charge FTP sur TLS", "Insecure server, it does not support FTP over TLS",
	"Dieser Server unterstützt kein FTP über TLS", "This server does not support FTP over TLS",
	"Ce serveur ne gère pas FTP sur TLS", "This server does not support FTP over TLS",
	"Authentifizierung fehlgeschlagen", "Authentication failed",
	"Échec de l'authentification", "Authentication failed",
	"Verbindung vom Server geschlossen", "Peer closed connection",
	"Connexion interrompue par le serveur", "Peer closed connection",
	"Ungültige Zeichenfolge empfangen, UTF-8 wird deaktiviert", "Invalid character sequence received, disabling UTF-8",
	"Séquence de caractères reçus incorrecte, désactivation de l'encodage UTF-8", "Invalid character sequence received, disabling UTF-8",

	// WinSCP.
	"Die Netzwerkverbindung wurde von der Gegenstelle unerwartet geschlossen", "Server unexpectedly closed network connection",
	"Le serveur a fermé la connexion de manière inattendue", "Server unexpectedly closed network connection",
	"SFTP kann nicht initialisiert werden", "Cannot initialize SFTP protocol",
	"Impossible d'initialiser le protocole SFTP", "Cannot initialize SFTP protocol",
	"Der Server kann keine Verbindung im aktiven Modus öffnen", "The server cannot open connection in active mode",
	"Le serveur ne peut pas ouvrir de connexion en mode actif", "The server cannot open connection in active mode",
	"Verzeichnisinhalt konnte nicht abgerufen werden", "Could not retrieve directory listing",
	"Listage du répertoire impossible", "Could not retrieve directory listing",
	"Übertragungstunnel konnte nicht geöffnet werden. Ursache:", "Transfer channel can't be opened. Reason:",
	"Le flux de transfert ne peut être ouvert. Raison :", "Transfer channel can't be opened. Reason:",
	"trat ein Fehler beim Setzen der Berechtigungen und/oder der Dateizeit auf", "error occurred while setting the permissions and/or timestamp",
	"une erreur est survenue lors de l'ajout des permissions et/ou de l'horodatage", "error occurred while setting the permissions and/or timestamp",
	"Der Hostschlüssel stimmt nicht mit dem in WinSCP gespeicherten", "The host key does not match the one",
	"La clé de l'hôte ne correspond pas à celle que WinSCP a mise en cache", "The host key does not match the one",
	"Anmeldung fehlgeschlagen", "Authentication failed",
	"Erreur d'authentification", "Authentication failed",
	"Allgemeiner Fehler (Der Server", "General failure (server",
	"Netzwerkfehler: Verbindung zum Host", "Network error: Connection refused by the host",
	"Erreur réseau : connexion à l'hôte", "Network error: Connection refused by the host",
	"Netzwerkfehler: Zeitgrenze für Verbindung", "Network error: Connection timed out",
	"a pris trop de temps", "timed out",

	// Windows.
	"da der Zielcomputer die Verbindung verweigerte", "the target machine actively refused it",
	"car l'ordinateur cible l'a expressément refusée", "the target machine actively refused it",
	"Gegenstelle nach einer bestimmten Zeitspanne nicht", "the connected party did not properly respond",
	"car le parti connecté n'a pas répondu convenablement", "the connected party did not properly respond",
	"Eine vorhandene Verbindung wurde vom Remotehost geschlossen", "An existing connection was forcibly closed by the remote host",
	"Une connexion existante a dû être fermée par l'hôte distant", "An existing connection was forcibly closed by the remote host",
	"Es ist kein solcher Host bekannt", "No such host is known",
	"Hôte inconnu", "No such host is known",

	// glibc, which most programs of Linux quote.
	"Verbindungsaufbau abgelehnt", "Connection refused",
	"Connexion refusée", "Connection refused",
	"Die Wartezeit für die Verbindung ist abgelaufen", "Connection timed out",
	"Connexion terminée par expiration du délai d'attente", "Connection timed out",
	"Keine Route zum Zielrechner", "No route to host",
	"Aucun chemin d'accès pour atteindre l'hôte cible", "No route to host",
	"Der Name oder der Dienst ist nicht bekannt", "Name or service not known",
	"Nom ou service inconnu", "Name or service not known",
	"Die Verbindung wurde vom Kommunikationspartner zurückgesetzt", "Connection reset by peer",
	"Connexion ré-initialisée par le correspondant", "Connection reset by peer",
	"Datei oder Verzeichnis nicht gefunden", "No such file or directory",
	"Aucun fichier ou dossier de ce type", "No such file or directory",
	"Keine Berechtigung", "Permission denied",
	"Permission non accordée", "Permission denied",
	"Auf dem Gerät ist kein Speicherplatz mehr verfügbar", "No space left on device",
	"Aucun espace disponible sur le périphérique", "No space left on device",
	"Die Adresse wird bereits verwendet", "Address already in use",
	"Adresse déjà utilisée", "Address already in use",
}
